/** The program: one command line in, one exit status out. */
import { systemClock } from './base/clock.ts';
import { connectAgent } from './cli/agent-connection.ts';
import { run } from './cli/run.ts';
import { systemTerminal } from './cli/terminal.ts';
import { readEnvironment } from './config/env.ts';

// A command line with a token in it stays in the process list no longer than it must.
const args = process.argv.slice(2);
process.title = `holdfast ${args[0] ?? ''}`.trim();

// Keys, tokens and the log are for root alone, whoever creates the file.
process.umask(0o077);

const exitCode = await run(args, {
  terminal: systemTerminal(),
  environment: readEnvironment(),
  clock: systemClock(),
  connect: connectAgent,
});

// Once a command is done nothing that it left open may keep it: a shell script waits for it.
process.exit(exitCode);
