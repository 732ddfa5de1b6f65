/**
 * The proxy behind the interface of the kernel's paths: a balancer in this process, with the
 * steering that leads the VIP to it. What the agent does with reports is done here by hand.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log.ts';
import { prng } from '../../src/base/prng.ts';
import { Balancer } from '../../src/lb/balancer.ts';
import type { CarrierThread } from '../../src/lb/carrier-link.ts';
import type { LaneCounts, LanePlan } from '../../src/lb/carrier-protocol.ts';
import { startCarrier } from '../../src/lb/carrier-start.ts';
import type { ForwardCount, Forwarder, ForwardPlan, Redirect } from '../../src/lb/ports.ts';
import type { Assignment, FrontendReport } from '../../src/lb/protocol.ts';
import { createDatagramDoors } from '../../src/linux/datagram-sockets.ts';
import { createSteering } from '../../src/linux/nftables.ts';
import { createDoorSockets, tuneConnection } from '../../src/linux/stream-sockets.ts';

/** The carrier tells of counts that have changed within this time. */
const COUNTS_MS = 100;
const PATIENCE_MS = 5_000;

type Endpoint = Pick<ForwardPlan, 'address' | 'port'>;

export class ProxyForwarder implements Forwarder {
  /** The interface has no word for the proxy. */
  readonly kind = 'nftables';
  readonly #steering = createSteering();
  readonly #carrier = new LaneWatch();
  #balancer: Balancer;
  readonly #reports = new Map<string, FrontendReport>();
  /** What was planned last for each frontend; those that are planned no more lead nobody in. */
  readonly #assignments = new Map<string, Assignment>();
  #changed: () => void = () => undefined;

  constructor() {
    this.#balancer = this.#newBalancer();
  }

  unavailable(): null {
    return null;
  }

  async set(plans: readonly ForwardPlan[]): Promise<void> {
    for (const [name, each] of this.#assignments) {
      this.#assignments.set(name, { ...each, carries: false });
    }
    for (const plan of plans) this.#assignments.set(plan.name, assignmentOf(plan));
    this.#balancer.assign([...this.#assignments.values()], true);
    for (const { name, backends } of plans) await this.#report(name, backends.length > 0);
    // Also to doors that are shut: without any rule, the kernel would translate nothing any more.
    const redirects: Redirect[] = [];
    for (const { frontend } of this.#assignments.values()) {
      const { name, address, port, protocol } = frontend;
      const toPort = this.#reports.get(name)?.port ?? 0;
      if (toPort > 0) redirects.push({ address, port, protocol, toPort });
    }
    await this.#steering.set(redirects);
  }

  async sever(_frontend: Endpoint, { address, port }: Endpoint): Promise<number> {
    await sleep(COUNTS_MS);
    return this.#carrier.sever(address, port);
  }

  async release(address: string): Promise<number> {
    const counts = await this.counts();
    this.#balancer.release(address);
    return counts.reduce((sum, { connections }) => sum + connections, 0);
  }

  async counts(): Promise<readonly ForwardCount[]> {
    await sleep(COUNTS_MS);
    return this.#carrier.counts();
  }

  async clear(): Promise<void> {
    await this.#steering.clear();
    this.#balancer.close();
    this.#assignments.clear();
    this.#reports.clear();
    this.#balancer = this.#newBalancer();
  }

  /** For good: no thread is left. */
  close(): void {
    this.#balancer.close();
  }

  #newBalancer(): Balancer {
    return new Balancer({
      clock: systemClock(),
      random: prng(1),
      log: silentLogger,
      readFile: () => Promise.reject(new Error('no file is needed')),
      readFileNow: () => '',
      onReport: (reports) => {
        for (const report of reports) this.#reports.set(report.name, report);
        this.#changed();
      },
      onVerdicts: () => undefined,
      onFailure: () => undefined,
      doors: createDoorSockets(),
      createDatagramDoors,
      maxFlows: 1_000,
      maxHttpClients: 1_000,
      tune: tuneConnection,
      carrier: this.#carrier.start(),
    });
  }

  /** The report of a frontend whose door is as it should be. */
  async #report(name: string, serving: boolean): Promise<FrontendReport> {
    const { promise, resolve, reject } = Promise.withResolvers<FrontendReport>();
    const timer = setTimeout(() => reject(new Error(`${name} does not serve`)), PATIENCE_MS);
    this.#changed = () => {
      const report = this.#reports.get(name);
      if (report !== undefined && report.serving === serving && report.port > 0) resolve(report);
    };
    this.#changed();
    return promise.finally(() => clearTimeout(timer));
  }
}

function assignmentOf(plan: ForwardPlan): Assignment {
  return {
    carries: true,
    preferredPort: 0,
    favoured: [],
    frontend: {
      ...plan,
      dataPath: 'proxy',
      prefer: 'any',
      backends: plan.backends.map((backend) => ({ ...backend, draining: false })),
      healthCheck: {
        ...{ type: 'none', path: '/', intervalMs: 1_000, timeoutMs: 1_000, rise: 2, fall: 2 },
        ...{ expectStatus: 200, caFile: null, systemTrust: false, serverName: null },
      },
      http: null,
    },
  };
}

/** The carrier's thread, with a note of what it was told and what it tells. */
class LaneWatch {
  #thread: CarrierThread | null = null;
  /** Where lanes have led, ever: whom to sever is told by name. */
  readonly #targets = new Map<string, { readonly lane: number; readonly name: string }>();
  readonly #counts = new Map<number, LaneCounts>();

  start(): CarrierThread {
    const thread = startCarrier({
      maxConnections: 9_000,
      onEnd: (reason) => {
        throw new Error(`the carrier ended: ${reason}`);
      },
    });
    this.#thread = thread;
    this.#targets.clear();
    this.#counts.clear();
    thread.onMessage((message) => {
      if (message.kind === 'counts') this.#counts.set(message.lane, message.counts);
    });
    return {
      onMessage: (listener) => thread.onMessage(listener),
      post: (message) => {
        if (message.kind === 'plan') this.#planned(message.lane, message.plan);
        thread.post(message);
      },
    };
  }

  #planned(lane: number, { backends }: LanePlan): void {
    for (const { name, address, port } of backends) {
      this.#targets.set(`${lane} ${address} ${port}`, { lane, name });
    }
  }

  counts(): ForwardCount[] {
    return [...this.#counts].flatMap(([lane, { backends }]) =>
      [...backends].map(([backend, { open, total }]) => ({
        ...{ frontend: String(lane), backend, connections: open, total },
      })),
    );
  }

  /** How many clients there were to reset. */
  sever(address: string, port: number): number {
    let ended = 0;
    for (const [key, { lane, name }] of this.#targets) {
      if (!key.endsWith(` ${address} ${port}`)) continue;
      ended += this.#counts.get(lane)?.backends.get(name)?.open ?? 0;
      this.#thread?.post({ kind: 'sever', lane, backend: name });
    }
    return ended;
  }
}
