/**
 * A long-lived process of the lab. Each leads a process group of its own, so that whatever it
 * starts ends with it and a Ctrl-C at the terminal reaches the test first, which then cleans up.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { kill } from './teardown.ts';

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  /** Standard output and error are appended here. */
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Opens Node's message channel. */
  readonly ipc?: boolean;
}

export class Child {
  readonly pid: number;
  readonly process: ChildProcess;
  readonly logFile: string;
  /** Resolves when the process itself has ended. */
  readonly ended: Promise<Ending>;
  #alive = true;

  constructor(argv: readonly string[], { logFile, env = {}, ipc = false }: ChildOptions) {
    const [command = '', ...args] = argv;
    const log = openSync(logFile, 'a');
    this.process = spawn(command, args, {
      detached: true,
      stdio: ['ignore', log, log, ...(ipc ? (['ipc'] as const) : [])],
      env: { ...process.env, ...env },
    });
    closeSync(log);
    if (this.process.pid === undefined) throw new Error(`cannot start ${argv.join(' ')}`);
    this.pid = this.process.pid;
    this.logFile = logFile;
    this.ended = new Promise((resolve) => {
      this.process.on('exit', (code, signal) => {
        this.#alive = false;
        resolve({ code, signal });
      });
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** To the process alone. */
  signal(signal: NodeJS.Signals): void {
    if (this.#alive) kill(this.pid, signal);
  }

  /** To the process and everything that it started. */
  signalGroup(signal: NodeJS.Signals): void {
    kill(-this.pid, signal);
  }

  /** Asks it to end, waits, and ends what is left of its group by force. */
  async stop(graceMs = 5_000): Promise<Ending> {
    this.signal('SIGTERM');
    const force = setTimeout(() => this.signalGroup('SIGKILL'), graceMs);
    const ending = await this.ended;
    clearTimeout(force);
    this.signalGroup('SIGKILL');
    return ending;
  }
}
