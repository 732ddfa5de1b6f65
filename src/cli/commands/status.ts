/**
 * `holdfast status`: who holds the address, and why. It shows this node's view and never waits for
 * a quorum; with the agent down it reads the kernel and the data directory.
 */

import { sleep } from '../../base/clock.ts';
import { errorCode } from '../../base/errors.ts';
import type { StatusDocument } from '../../cluster/status-document.ts';
import {
  type Context,
  type ExitCode,
  type OutputOptions,
  pathsOf,
  print,
  type Register,
  withAgent,
  withOutput,
} from '../context.ts';
import { headline, statusText } from '../status-text.ts';

export interface StatusOptions extends OutputOptions {
  readonly watch?: boolean;
  readonly check?: boolean;
  readonly linearizable?: boolean;
}

const watchIntervalMs = 1000;

/** What the local socket answers when there is nobody, or nobody awake, to ask. */
const agentAway: ReadonlySet<string | undefined> = new Set(['agent-down', 'timeout']);

export const registerStatus: Register = (program, context, done) => {
  withOutput(program.command('status').description('tell who holds the address, and why'))
    .option('--watch', 'show it anew each second')
    .option('--check', 'print one line; exit status 0 if healthy, 1 if not')
    .option('--linearizable', 'ask the quorum instead of this node alone')
    .action(
      done(async (options: StatusOptions) => {
        if (options.watch === true) return watch(context, options);
        return show(context, options, await readStatus(context, options));
      }),
    );
};

/** This node's view: the agent's where it answers, else what the kernel and the disk tell. */
export async function readStatus(
  context: Context,
  options: StatusOptions,
): Promise<StatusDocument> {
  const linearizable = options.linearizable === true;
  try {
    return await withAgent(context, options, (agent) => agent.status({ linearizable }));
  } catch (error) {
    if (linearizable || !agentAway.has(errorCode(error))) throw error;
    const { readStatusOffline } = await import('../offline.ts');
    return readStatusOffline(pathsOf(options), context.clock, errorCode(error) !== 'agent-down');
  }
}

function show(context: Context, options: StatusOptions, document: StatusDocument): ExitCode {
  const now = context.clock.wallNow();
  const text = options.check === true ? `${headline(document, now)}\n` : statusText(document, now);
  print(context, options, document, text);
  return options.check === true && document.verdict !== 'healthy' ? 1 : 0;
}

/** Until the person interrupts it. */
async function watch(context: Context, options: StatusOptions): Promise<ExitCode> {
  const clear = context.terminal.isScreen && options.output !== 'json' ? '\x1b[H\x1b[2J' : '';
  for (;;) {
    const document = await readStatus(context, options);
    context.terminal.out(clear);
    show(context, options, document);
    await sleep(context.clock, watchIntervalMs);
  }
}
