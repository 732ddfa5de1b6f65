/**
 * One host of the lab: a namespace with `lo` and `eth0`, a data directory, and the processes that
 * run on it. The real CLI and the real agent run here as they would on a machine.
 */
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, type ChildOptions } from './children.ts';
import { until } from './clock.ts';
import { Disk, type DiskKind } from './disk.ts';
import { inNamespace } from './namespace.ts';
import { failure, must, type Outcome, type RunOptions, run } from './shell.ts';
import type { Footprint } from './teardown.ts';

export const launcher = fileURLToPath(new URL('../../bin/holdfast', import.meta.url));
const fetchProgram = fileURLToPath(new URL('fetch-child.ts', import.meta.url));

export interface Fetched {
  /** 0 when there was no answer. */
  readonly status: number;
  readonly body: string;
  /** `ECONNREFUSED`, `ECONNRESET`, `timeout`, …; null when there was an answer. */
  readonly error: string | null;
  readonly tookMs: number;
}

export interface HostOptions {
  readonly ipv6: boolean;
  /** Put before the command that starts the agent. */
  readonly agentWrapper?: readonly string[];
}

export class Host {
  readonly name: string;
  readonly namespace: string;
  readonly mac: string;
  readonly address: string;
  readonly address6: string | null;
  #dataDir: string;
  #disk: Disk | null = null;
  /** The program that runs here. */
  program = launcher;
  readonly directory: string;
  /** Put before the command that starts the agent. */
  readonly #agentWrapper: readonly string[];
  readonly #children = new Set<Child>();
  #agent: Child | null = null;

  constructor(footprint: Footprint, name: string, number: number, options: HostOptions) {
    const { ipv6, agentWrapper = [] } = options;
    this.#agentWrapper = agentWrapper;
    this.name = name;
    this.namespace = `${footprint.prefix}${name}`;
    this.mac = `02:00:00:4d:00:0${number}`;
    this.address = `10.77.0.${10 + number}`;
    this.address6 = ipv6 ? `fd77::${10 + number}` : null;
    this.directory = join(footprint.directory, name);
    this.#dataDir = join(this.directory, 'data');
    mkdirSync(this.directory, { recursive: true });
  }

  /** Given to the CLI as --data-dir; made by `init` and `join`. */
  get dataDir(): string {
    return this.#dataDir;
  }

  /** The disk of its own that the data directory is on. */
  get disk(): Disk {
    if (this.#disk === null) throw new Error(`${this.name} has no disk of its own`);
    return this.#disk;
  }

  /** Puts the data directory, which is not there yet, on a disk of its own. */
  async useDisk(kind: DiskKind): Promise<void> {
    this.#disk = await Disk.create(kind, join(this.directory, 'disk.img'));
    this.#dataDir = `${this.#disk.path}/data`;
  }

  /** Brings the interfaces up. */
  async configure(): Promise<void> {
    const lines = [
      'link set lo up',
      `addr add ${this.address}/24 dev eth0`,
      ...(this.address6 === null ? [] : [`addr add ${this.address6}/64 dev eth0 nodad`]),
      'link set eth0 up',
    ];
    const input = `${lines.join('\n')}\n`;
    await must(['ip', '-n', this.namespace, '-batch', '-'], { input });
  }

  /** Runs a short command on the host. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(inNamespace(this.namespace, argv), options);
  }

  /** Runs `holdfast ARGS --data-dir …` on the host. */
  cli(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return this.exec([this.program, ...args, '--data-dir', this.dataDir], options);
  }

  /** The standard output of a CLI call that must succeed. */
  async must(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const outcome = await this.cli(args, options);
    if (outcome.code !== 0) throw new Error(`on ${this.name}: ${failure(outcome)}`);
    return outcome.stdout;
  }

  /** What a CLI call with `-o json` printed. */
  async json(args: readonly string[], options: RunOptions = {}): Promise<unknown> {
    return JSON.parse(await this.must([...args, '-o', 'json'], options));
  }

  /** Starts a process that lives until the lab closes or it is stopped. */
  spawn(argv: readonly string[], options: Partial<ChildOptions> & { log: string }): Child {
    const { log, ...rest } = options;
    const child = new Child(inNamespace(this.namespace, argv), {
      logFile: join(this.directory, `${log}.log`),
      ...rest,
    });
    this.adopt(child);
    return child;
  }

  /** Ends `child` with the lab. */
  adopt(child: Child): void {
    this.#children.add(child);
    void child.ended.then(() => this.#children.delete(child));
  }

  /** Asks once from inside the host, by a process of its own; the URLs are fetch-child.ts's. */
  async fetch(url: string): Promise<Fetched> {
    const [fetched] = await this.fetchAll([url]);
    return fetched as Fetched;
  }

  /** The same of several at once: they share the process. */
  async fetchAll(urls: readonly string[]): Promise<readonly Fetched[]> {
    const outcome = await this.exec([process.execPath, fetchProgram, ...urls]);
    if (outcome.code !== 0) throw new Error(failure(outcome));
    return JSON.parse(outcome.stdout) as Fetched[];
  }

  get agent(): Child {
    if (this.#agent === null) throw new Error(`no agent was started on ${this.name}`);
    return this.#agent;
  }

  get agentRuns(): boolean {
    return this.#agent?.alive ?? false;
  }

  /** Everything that agents on this host ever printed. */
  get agentLog(): string {
    return this.#agent?.log() ?? '';
  }

  /** Starts the agent and waits until it takes admin connections. */
  async startAgent(args: readonly string[] = []): Promise<Child> {
    if (this.agentRuns) throw new Error(`an agent runs on ${this.name} already`);
    const argv = [
      ...this.#agentWrapper,
      this.program,
      'agent',
      '--data-dir',
      this.dataDir,
      ...args,
    ];
    const agent = this.spawn(argv, { log: 'agent' });
    this.#agent = agent;
    await until(
      () => {
        if (!agent.alive) throw new Error('it ended');
        return answers(join(this.dataDir, 'agent.sock'));
      },
      { timeoutMs: 15_000, everyMs: 20, what: `the agent on ${this.name}` },
    ).catch((cause: unknown) => {
      throw new Error(`the agent on ${this.name} does not serve:\n${agent.log().slice(-4_000)}`, {
        cause,
      });
    });
    return agent;
  }

  /** SIGTERM, and the wait for its end. */
  async stopAgent(graceMs = 10_000): Promise<void> {
    if (this.#agent !== null) await this.#agent.stop(graceMs);
  }

  /** SIGKILL to the agent and its workers, as by the OOM killer or a power switch. */
  async killAgent(): Promise<void> {
    this.agent.signalGroup('SIGKILL');
    await this.agent.ended;
  }

  /** SIGSTOP to the agent and its workers. */
  pauseAgent(): void {
    this.agent.signalGroup('SIGSTOP');
  }

  resumeAgent(): void {
    this.agent.signalGroup('SIGCONT');
  }

  /** Ends everything on the host, without ceremony. */
  async stop(): Promise<void> {
    const children = [...this.#children];
    for (const child of children) child.signalGroup('SIGKILL');
    await Promise.all(children.map(({ ended }) => ended));
    await this.#disk?.[Symbol.asyncDispose]();
    this.#disk = null;
  }
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
