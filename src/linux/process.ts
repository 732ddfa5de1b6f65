/**
 * Worker processes: the same Node with an entry of its own and a message channel. They never
 * outlive the agent: the kernel ends them when its main thread ends, however that happened.
 */
import { type ChildProcess, type Serializable, spawn } from 'node:child_process';
import type { WorkerHost, WorkerProcess } from '../lb/ports.ts';
import { check, processControl } from './libc.ts';

/** linux/prctl.h */
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;

/** What systemd says to the agent is not meant for its workers. */
const NOT_INHERITED: readonly string[] = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'];

export interface WorkerHostOptions {
  /** The path of the module that a worker runs. */
  readonly entry: string;
}

export function createWorkerHost(options: WorkerHostOptions): WorkerHost {
  return {
    spawn() {
      const inherited = Object.entries(process.env).filter(
        ([name]) => !NOT_INHERITED.includes(name),
      );
      const child = spawn(process.execPath, [options.entry], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        env: Object.fromEntries(inherited),
      });
      return workerProcess(child);
    },
  };
}

function workerProcess(child: ChildProcess): WorkerProcess {
  let reason: string | null = null;
  const listeners: ((reason: string) => void)[] = [];
  const ended = (why: string): void => {
    if (reason !== null) return;
    reason = why;
    for (const listener of listeners) listener(why);
  };
  child.once('exit', (code, signal) => {
    ended(signal === null ? `exited with status ${code}` : `was ended by ${signal}`);
  });
  // A failed start has no exit; a failed `send` is followed by one.
  child.on('error', (error) => {
    if (child.pid === undefined) ended(`could not be started: ${error.message}`);
  });
  return {
    pid: child.pid ?? 0,
    send(message) {
      // Whatever goes wrong here, `onExit` tells the end of it.
      if (child.connected) child.send(message as Serializable, () => undefined);
    },
    onMessage(listener) {
      child.on('message', listener);
    },
    onExit(listener) {
      if (reason === null) listeners.push(listener);
      else listener(reason);
    },
    kill() {
      child.kill('SIGKILL');
    },
  };
}

/**
 * In a worker: the kernel ends it when the agent's main thread ends. An agent that ended before
 * this call is noticed by its closed channel.
 */
export function endWithParent(): void {
  check(processControl(PR_SET_PDEATHSIG, SIGKILL), 'ask to be ended with the parent process');
}
