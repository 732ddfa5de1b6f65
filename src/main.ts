/** The program: one command line in, one exit status out. */
import { run } from './cli/run.ts';
import { systemTerminal } from './cli/terminal.ts';
import { readEnvironment } from './config/env.ts';

// A command line with a token in it stays in the process list no longer than it must.
const args = process.argv.slice(2);
process.title = `holdfast ${args[0] ?? ''}`.trim();

// Once a command is done nothing that it left open may keep it: a shell script waits for it.
process.exit(await run(args, { terminal: systemTerminal(), environment: readEnvironment() }));
