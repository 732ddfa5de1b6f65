/** A person at a terminal and an agent to talk to, both made of memory, for tests of commands. */
import type { Clock } from '../../../src/base/clock.ts';
import { OperatingError } from '../../../src/base/errors.ts';
import type { AgentConnection, Context } from '../../../src/cli/context.ts';
import { run } from '../../../src/cli/run.ts';
import type { Operations } from '../../../src/cluster/operations.ts';
import { readEnvironment } from '../../../src/config/env.ts';
import { wallNowMs } from './documents.ts';

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** What was asked of the agent: the operation and its arguments. */
  readonly asked: readonly (readonly [name: string, ...args: unknown[]])[];
  readonly closed: number;
}

export interface WorldOptions {
  /** What the agent answers; an operation that is not here must not be asked. */
  readonly agent?: Partial<Operations>;
  readonly input?: string;
  readonly variables?: Readonly<Record<string, string>>;
}

/** Time stands still, and whoever waits is called back at once. */
const clock: Clock = {
  now: () => 0,
  wallNow: () => wallNowMs,
  after(_delayMs, callback) {
    queueMicrotask(callback);
    return { cancel: () => undefined };
  },
};

/** Runs one command line against a fake agent. */
export async function command(args: readonly string[], options: WorldOptions = {}) {
  const asked: [name: string, ...args: unknown[]][] = [];
  let out = '';
  let err = '';
  let closed = 0;
  const context: Context = {
    clock,
    environment: readEnvironment(options.variables ?? {}, 1),
    terminal: {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      isScreen: false,
      readInput: async () => options.input ?? '',
    },
    async connect() {
      if (options.agent === undefined) {
        throw new OperatingError({ code: 'agent-down', message: 'nobody', hint: 'start one' });
      }
      return connection(options.agent, asked, () => closed++);
    },
  };
  const code = await run(args, context);
  const outcome: Outcome = { code, out, err, asked, closed };
  return outcome;
}

function connection(
  agent: Partial<Operations>,
  asked: [name: string, ...args: unknown[]][],
  onClose: () => void,
): AgentConnection {
  const answer = (name: string) => {
    if (name === 'close') return onClose;
    // A promise resolves with this object, and asks it whether it is a promise.
    if (name === 'then') return undefined;
    return async (...args: unknown[]) => {
      asked.push([name, ...args]);
      const operation = agent[name as keyof Operations] as
        | ((...given: unknown[]) => Promise<unknown>)
        | undefined;
      if (operation === undefined) throw new Error(`${name} was not to be asked`);
      return operation(...args);
    };
  };
  return new Proxy({} as AgentConnection, { get: (_target, name) => answer(String(name)) });
}
