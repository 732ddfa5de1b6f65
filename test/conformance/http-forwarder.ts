/**
 * The data path `http` behind the interface of the kernel's paths: its lane and its door in this
 * process, with the steering that leads the VIP to them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import type { LaneCounts } from '../../src/lb/carrier-protocol.ts';
import { HttpLane } from '../../src/lb/http-lane.ts';
import { Door } from '../../src/lb/listener.ts';
import type { ForwardCount, Forwarder, ForwardPlan, Redirect } from '../../src/lb/ports.ts';
import { createSteering } from '../../src/linux/nftables.ts';
import { createDoorSockets, tuneConnection } from '../../src/linux/stream-sockets.ts';

/** The end of a client's connection is known here within this time. */
const COUNTS_MS = 100;

type Endpoint = Pick<ForwardPlan, 'address' | 'port'>;

export class HttpForwarder implements Forwarder {
  /** The interface has no word for HTTP. */
  readonly kind = 'nftables';
  readonly #steering = createSteering();
  /** By name; those that are planned no more lead nobody in. */
  readonly #frontends = new Map<string, HttpFrontend>();

  unavailable(): null {
    return null;
  }

  async set(plans: readonly ForwardPlan[]): Promise<void> {
    const planned = new Set(plans.map(({ name }) => name));
    for (const [name, frontend] of this.#frontends) if (!planned.has(name)) frontend.shut();
    for (const plan of plans) {
      const known = this.#frontends.get(plan.name);
      if (known === undefined) this.#frontends.set(plan.name, new HttpFrontend(plan));
      else known.follow(plan);
    }
    // Also to doors that are shut: without any rule, the kernel would translate nothing any more.
    await this.#steering.set([...this.#frontends.values()].map((each) => each.redirect()));
  }

  async sever(frontend: Endpoint, backend: Endpoint): Promise<number> {
    await sleep(COUNTS_MS);
    return this.#at(frontend.address).reduce((sum, each) => sum + each.sever(backend), 0);
  }

  async release(address: string): Promise<number> {
    await sleep(COUNTS_MS);
    return this.#at(address).reduce((sum, each) => sum + each.reset(), 0);
  }

  async counts(): Promise<readonly ForwardCount[]> {
    await sleep(COUNTS_MS);
    return [...this.#frontends.values()].flatMap((each) => each.counts());
  }

  async clear(): Promise<void> {
    await this.#steering.clear();
    for (const frontend of this.#frontends.values()) frontend.close();
    this.#frontends.clear();
  }

  #at(vip: string): HttpFrontend[] {
    return [...this.#frontends.values()].filter(({ plan }) => plan.address === vip);
  }
}

class HttpFrontend {
  plan: ForwardPlan;
  readonly #lane: HttpLane;
  readonly #door: Door;
  /** Where the lane has led, ever: whom to sever is told by name. */
  readonly #names = new Map<string, string>();
  #counts: LaneCounts | null = null;

  constructor(plan: ForwardPlan) {
    this.plan = plan;
    const noFile = (): never => {
      throw new Error('no file is needed');
    };
    this.#lane = new HttpLane(
      {
        failed: () => undefined,
        counted: (counts) => {
          this.#counts = counts;
        },
      },
      {
        clock: systemClock(),
        log: silentLogger,
        options: { tls: null, backendTls: null },
        readFile: noFile,
        readFileNow: noFile,
        maxClients: 1_000,
        tune: tuneConnection,
      },
    );
    this.#door = new Door({
      preferredPort: 0,
      mayMove: true,
      sockets: createDoorSockets(),
      lane: this.#lane,
      onError: (error) => {
        throw error;
      },
    });
    this.#door.claim();
    this.follow(plan);
  }

  follow(plan: ForwardPlan): void {
    this.plan = plan;
    const { scheduler, backends } = plan;
    for (const { name, address, port } of backends) this.#names.set(`${address} ${port}`, name);
    this.#lane.plan({
      scheduler,
      backends: backends.map(({ mode: _, ...backend }) => ({ ...backend, preferred: true })),
    });
    if (backends.length > 0) this.#door.open();
    else this.#door.shut();
  }

  redirect(): Redirect {
    const { address, port, protocol } = this.plan;
    return { address, port, protocol, toPort: this.#door.port };
  }

  counts(): ForwardCount[] {
    return this.plan.backends.map(({ name }) => ({
      frontend: this.plan.name,
      backend: name,
      connections: this.#openTo(name),
      total: this.#counts?.backends.get(name)?.total ?? 0,
    }));
  }

  /** How many clients there were to reset. */
  sever({ address, port }: Endpoint): number {
    const name = this.#names.get(`${address} ${port}`) ?? '';
    const open = this.#openTo(name);
    this.#lane.sever(name);
    return open;
  }

  /** The same, of all backends. */
  reset(): number {
    const { clients = 0 } = this.#counts ?? {};
    this.#lane.resetClients();
    return clients;
  }

  shut(): void {
    this.#door.shut();
  }

  close(): void {
    this.#door.close();
    this.#lane.resetClients();
    this.#lane.leave();
  }

  #openTo(name: string): number {
    return this.#counts?.backends.get(name)?.open ?? 0;
  }
}
