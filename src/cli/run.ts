/**
 * One command line, from its words to its exit status: 0 done, 1 it failed (one line on standard
 * error: what, why, what next), 2 it made no sense. Only the command that is called gets loaded.
 */
import { Command, CommanderError } from 'commander';
import { InvariantViolation } from '../base/assert.ts';
import { describeError, OperatingError } from '../base/errors.ts';
import { catalog } from './catalog.ts';
import type { Context, Done, ExitCode } from './context.ts';
import { UsageError } from './usage.ts';

const done = 0;
const failed = 1;
const misused = 2;

/** Runs `args` (without the program's own name) and returns the exit status; never throws. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const { terminal } = context;
  let exitCode: ExitCode = done;
  const record: Done =
    (action) =>
    async (...given) => {
      exitCode = await action(...given);
    };
  try {
    const program = await assemble(args, context, record);
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return done;
    // Help that nobody asked for has been printed already.
    if (error instanceof CommanderError && error.code === 'commander.help') return misused;
    if (error instanceof CommanderError || error instanceof UsageError) {
      terminal.err(`holdfast: ${usageLine(error)}; see ${helpFor(args)}\n`);
      return misused;
    }
    terminal.err(`holdfast: ${failureLine(error)}\n`);
    return failed;
  }
}

async function assemble(args: readonly string[], context: Context, record: Done): Promise<Command> {
  const program = new Command('holdfast');
  program
    .description('One address that always answers for a bare-metal Kubernetes control plane.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.out(text),
      writeErr: (text) => context.terminal.err(text),
      // Printed by `commanderExit`, in the form of every other error.
      outputError: () => undefined,
    })
    .showSuggestionAfterError(true)
    .helpCommand(true);
  const called = args[0] === undefined ? undefined : catalog[args[0]];
  const loaders = called === undefined ? Object.values(catalog) : [called];
  for (const load of loaders) (await load())(program, context, record);
  return program;
}

/** Commander's message without its own prefix, suggestion line and full stop. */
function usageLine(error: Error): string {
  return error.message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
}

function helpFor(args: readonly string[]): string {
  const called = args[0] !== undefined && catalog[args[0]] !== undefined ? ` ${args[0]}` : '';
  return `holdfast${called} --help`;
}

function failureLine(error: unknown): string {
  const line = describeError(error).replaceAll(/\s*\n\s*/g, ' ');
  if (error instanceof OperatingError) return line;
  if (error instanceof InvariantViolation) return `this is a bug: ${line}; please report it`;
  return line;
}
