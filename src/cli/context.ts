/**
 * What every command is given, and the options that all of them share. A command registers itself
 * with its flags, and loads what it needs only when it runs: `--help` must be quick.
 */
import { type Command, Option } from 'commander';
import type { Clock } from '../base/clock.ts';
import type { Operations } from '../cluster/operations.ts';
import type { Environment } from '../config/env.ts';
import { type Paths, pathsFor } from '../config/paths.ts';
import type { Terminal } from './terminal.ts';

/** A connection to the agent of this host. */
export interface AgentConnection extends Operations {
  close(): void;
}

export interface Context {
  readonly terminal: Terminal;
  readonly environment: Environment;
  readonly clock: Clock;
  readonly connect: (paths: Paths, clock: Clock) => Promise<AgentConnection>;
}

/** The exit status of a command that did not throw. */
export type ExitCode = 0 | 1;

/** What a command file exports: adds the command, whose action yields the exit status. */
export type Register = (program: Command, context: Context, done: Done) => void;

/** Wraps an action, so that its exit status becomes the program's. */
export type Done = <Args extends readonly unknown[]>(
  action: (...args: Args) => Promise<ExitCode>,
) => (...args: Args) => Promise<void>;

export interface CommonOptions {
  readonly dataDir?: string;
}

export interface OutputOptions extends CommonOptions {
  readonly output?: 'json' | 'yaml';
}

/** Adds `--data-dir`. */
export function withDataDir(command: Command): Command {
  return command.option(
    '--data-dir <dir>',
    'where all of one node is (default: the system’s places)',
  );
}

/** Adds `--data-dir` and `-o json`. */
export function withOutput(command: Command, formats: readonly string[] = ['json']): Command {
  return withDataDir(command).addOption(
    new Option('-o, --output <format>', 'print for programs').choices([...formats]),
  );
}

export function pathsOf(options: CommonOptions): Paths {
  return pathsFor(options.dataDir ?? null);
}

/** ` --data-dir DIR` where one was given: for commands that we tell people to run. */
export function dataDirSuffix(paths: Paths): string {
  return paths.given === null ? '' : ` --data-dir ${paths.dataDir}`;
}

/** Asks the agent of this host, and hangs up whatever happens. */
export async function withAgent<T>(
  context: Context,
  options: CommonOptions,
  ask: (agent: Operations) => Promise<T>,
): Promise<T> {
  const agent = await context.connect(pathsOf(options), context.clock);
  try {
    return await ask(agent);
  } finally {
    agent.close();
  }
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value, null, 2)}\n`);
}

/** Prints `value` as JSON where that was asked for, else `text`. */
export function print(
  context: Context,
  options: OutputOptions,
  value: unknown,
  text: string,
): void {
  if (options.output === 'json') printJson(context.terminal, value);
  else context.terminal.out(text);
}
