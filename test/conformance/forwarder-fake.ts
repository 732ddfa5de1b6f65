/**
 * A forwarder that forwards in memory, and a world around it: what the suite asks of a kernel, as a
 * few maps. It schedules by the same tables as the kernel.
 */
import { slotsOf } from '../../src/lb/forwarding-slots.ts';
import type { ForwardBackend, ForwardCount, Forwarder, ForwardPlan } from '../../src/lb/ports.ts';
import type { Answer, ForwarderWorld, OpenConnection } from './forwarder-suite.ts';

interface FakeConnection {
  readonly plan: ForwardPlan;
  readonly backend: ForwardBackend;
  open: boolean;
}

export class FakeForwarder implements Forwarder {
  readonly kind = 'nftables';
  readonly connections = new Set<FakeConnection>();
  #plans: readonly ForwardPlan[] = [];
  #turn = 0;

  unavailable(): null {
    return null;
  }

  async set(plans: readonly ForwardPlan[]): Promise<void> {
    this.#plans = plans;
  }

  sever(
    frontend: Pick<ForwardPlan, 'address' | 'port' | 'protocol'>,
    backend: Pick<ForwardBackend, 'address' | 'port'>,
  ): Promise<number> {
    return this.#end(
      (connection) =>
        connection.plan.address === frontend.address &&
        connection.plan.port === frontend.port &&
        connection.backend.address === backend.address,
    );
  }

  release(address: string): Promise<number> {
    return this.#end(({ plan }) => plan.address === address);
  }

  async counts(): Promise<readonly ForwardCount[]> {
    return this.#plans.flatMap((plan) =>
      plan.backends.map((backend) => ({
        frontend: plan.name,
        backend: backend.name,
        connections: [...this.connections].filter(
          (connection) => connection.open && connection.backend.name === backend.name,
        ).length,
        total: [...this.connections].filter((each) => each.backend.name === backend.name).length,
      })),
    );
  }

  async clear(): Promise<void> {
    this.#plans = [];
  }

  /** What becomes of a new connection: null where nobody of ours knows the address. */
  connect(address: string, client: string): FakeConnection | 'refused' | null {
    const plan = this.#plans.find((each) => each.address === address);
    if (plan === undefined) return null;
    const slots = slotsOf(plan, 0);
    const slot = plan.scheduler === 'source-hash' ? sum(client) : this.#turn++;
    const backend = slots[slot % slots.length];
    if (backend === undefined) return 'refused';
    const connection = { plan, backend, open: true };
    this.connections.add(connection);
    return connection;
  }

  async #end(fits: (connection: FakeConnection) => boolean): Promise<number> {
    const ended = [...this.connections].filter((each) => each.open && fits(each));
    for (const each of ended) each.open = false;
    return ended.length;
  }
}

function sum(text: string): number {
  return [...text].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) >>> 0, 7);
}

const NETS = { 4: '10.78.0.', 6: 'fd78::' } as const;

export class FakeWorld implements ForwarderWorld {
  readonly forwarder = new FakeForwarder();
  readonly port = 6443;
  readonly atOnceMs = 500;
  readonly vip: string;
  readonly remote: readonly ForwardBackend[];
  readonly local: ForwardBackend;
  readonly #own: string;
  #isHere = false;

  constructor(family: 4 | 6) {
    this.#own = `${NETS[family]}10`;
    this.vip = `${NETS[family]}100`;
    const backend = (name: string, address: string): ForwardBackend => ({
      ...{ name, address, port: this.port, weight: 1, mode: 'masquerade' },
    });
    this.local = backend('holder', this.#own);
    this.remote = [1, 2, 3].map((n) => backend(`b${n}`, `${NETS[family]}1${n}`));
  }

  ownAddress(): string {
    return this.#own;
  }

  async moveVip(here: boolean): Promise<void> {
    this.#isHere = here;
  }

  async ask(): Promise<Answer> {
    return this.#ask('client');
  }

  async askUdp(): Promise<Answer> {
    return this.#ask('client');
  }

  async tally(_from: string, connections: number): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    for (const name of await this.crowd(connections)) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  }

  async crowd(clients: number): Promise<readonly string[]> {
    return Array.from({ length: clients }, (_, index) => {
      const answer = this.#ask(`client ${index}`);
      return 'server' in answer ? answer.server : 'nobody';
    });
  }

  async open(): Promise<OpenConnection> {
    const connection = this.forwarder.connect(this.vip, 'client');
    if (connection === null || connection === 'refused') throw new Error('refused');
    return {
      server: connection.backend.name,
      echo: async (line) => (connection.open ? line : 'reset'),
      ended: async () => (connection.open ? 'silence' : 'reset'),
      halfClose: async () => 'bye',
      close: () => {
        connection.open = false;
      },
    };
  }

  idleSeconds(): null {
    return null;
  }

  #ask(client: string): Answer {
    if (!this.#isHere) return { silent: true };
    const connection = this.forwarder.connect(this.vip, client);
    if (connection === 'refused') return { refusedAfterMs: 0 };
    if (connection === null) return { server: this.local.name, saw: client };
    connection.open = false;
    return { server: connection.backend.name, saw: this.#own };
  }
}
