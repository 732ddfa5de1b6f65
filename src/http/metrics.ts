/**
 * The metrics as a table: name, unit, meaning, and how each follows from the facts. Values are
 * taken when somebody scrapes, never before: nothing is counted twice and nothing costs while
 * nobody asks.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { BackendFacts, FrontendFacts, HttpFacts } from './facts.ts';

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Metric {
  /** Without the common prefix; counters end in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (facts: HttpFacts) => readonly Sample[];
}

export const PREFIX = 'holdfast_';

/** Ticks of the event-loop probe; at 50 ms they cost 0.14 % of a core, at 10 ms 0.6 %. */
const LOOP_PROBE_MS = 50;
/** States in which a backend may be, so that each has a series from the beginning. */
const BACKEND_STATES = ['up', 'degraded', 'down', 'draining'] as const;

const METRICS: readonly Metric[] = [
  {
    name: 'build_info',
    help: 'Constant 1; the labels say what runs',
    labels: ['version', 'node'],
    samples: ({ version, node }) => [{ labels: { version, node }, value: 1 }],
  },
  single('is_leader', 'Whether this node leads the cluster', ({ raft }) => raft.isLeader),
  single('has_leader', 'Whether this node knows a leader that lives', ({ raft }) => raft.hasLeader),
  single('term', 'Present Raft term', ({ raft }) => raft.term),
  single('commit_index', 'Highest committed log index known here', ({ raft }) => raft.commitIndex),
  single('applied_index', 'Highest log index applied here', ({ raft }) => raft.appliedIndex),
  single(
    'leader_changes_total',
    'Changes of leadership that this node saw since it started',
    ({ raft }) => raft.leaderChanges,
  ),
  single('raft_proposals_total', 'Commands proposed by this node', ({ raft }) => raft.proposals),
  {
    name: 'members',
    help: 'Members of the cluster by role',
    labels: ['role'],
    samples: ({ raft }) =>
      Object.entries(raft.members).map(([role, value]) => ({ labels: { role }, value })),
  },
  {
    name: 'vip_held',
    help: 'Whether this node holds the VIP',
    labels: ['vip'],
    samples: ({ vips }) =>
      vips.map(({ address, heldHere }) => ({ labels: { vip: address }, value: Number(heldHere) })),
  },
  {
    name: 'vip_transitions_total',
    help: 'How often this node claimed or withdrew the VIP',
    labels: ['vip'],
    samples: ({ vips }) =>
      vips.map(({ address, transitions }) => ({ labels: { vip: address }, value: transitions })),
  },
  single(
    'lease_remaining_seconds',
    'Time until the lease on the VIPs ends unless renewed; 0 without a lease',
    ({ leaseRemainingMs }) => leaseRemainingMs / 1_000,
  ),
  single(
    'promise_seconds',
    'How long followers promise to elect nobody else: E of the timing in force',
    ({ timing }) => timing.promiseMs / 1_000,
  ),
  {
    name: 'quorum_delay_p999_seconds',
    help: 'How late the answers of the quorum to heartbeats are, 99.9th percentile; leader only',
    labels: [],
    samples: ({ timing: { delayMs } }) =>
      delayMs === null ? [] : [{ labels: {}, value: delayMs / 1_000 }],
  },
  single(
    'timing_changes_total',
    'Changes that `timing: auto` made here',
    (facts) => facts.timing.changes,
  ),
  single('fence_renewals_total', 'Renewals of the kernel fence', ({ fence }) => fence.renewals),
  single(
    'fence_misses_total',
    'Times that the kernel fence was found missing or bypassed while holding a VIP',
    ({ fence }) => fence.misses,
  ),
  single(
    'fence_expiries_total',
    'Leases that ended before this process let go, so that the kernel fence stood in',
    ({ fence }) => fence.expiries,
  ),
  {
    name: 'fence_dropped_frames_total',
    help: 'Frames for or from a VIP that the eBPF fence dropped since the agent started',
    labels: [],
    samples: ({ fence: { droppedFrames } }) =>
      droppedFrames === null ? [] : [{ labels: {}, value: droppedFrames }],
  },
  {
    name: 'fence_standing',
    help: '1 for each kind of kernel fence that stands now',
    labels: ['kind'],
    samples: ({ fence }) => fence.standing.map((kind) => ({ labels: { kind }, value: 1 })),
  },
  single(
    'arp_announcements_total',
    'Gratuitous ARP and unsolicited neighbour advertisement frames sent',
    ({ announcements }) => announcements,
  ),
  single(
    'arp_announcements_failed_total',
    'Announcements that the link did not take',
    ({ announcementsFailed }) => announcementsFailed,
  ),
  single(
    'vip_conflicts_total',
    'Times that another host claimed a VIP held here, or answered for one before its claim',
    ({ conflicts }) => conflicts,
  ),
  single(
    'vip_repairs_total',
    'VIPs put back after somebody removed the address',
    ({ repairs }) => repairs,
  ),
  perFrontend('frontend_clients', 'Clients connected now', ({ clients }) => clients),
  perFrontend('frontend_accepted_total', 'Clients accepted', ({ accepted }) => accepted),
  perFrontend(
    'frontend_unserved_total',
    'Clients reset because no backend could be connected',
    ({ unserved }) => unserved,
  ),
  perFrontend(
    'frontend_over_limit_total',
    'Clients reset because of the limit of connections per worker',
    ({ overLimit }) => overLimit,
  ),
  perFrontend(
    'frontend_connect_failures_total',
    'Attempts to connect to a backend that failed',
    ({ connectFailures }) => connectFailures,
  ),
  perBackend('backend_up', 'Whether the backend is up', ({ state }) => Number(state === 'up')),
  perBackend('backend_connections', 'Connections open', ({ connections }) => connections),
  perBackend(
    'backend_connections_total',
    'Connections ever sent to the backend by this node',
    ({ totalConnections }) => totalConnections,
  ),
  {
    name: 'backend_state',
    help: '1 for the state that the backend is in',
    labels: ['frontend', 'backend', 'state'],
    samples: ({ frontends }) =>
      frontends.flatMap(({ name: frontend, backends }) =>
        backends.flatMap(({ name: backend, state: actual }) =>
          BACKEND_STATES.map((state) => ({
            labels: { frontend, backend, state },
            value: Number(state === actual),
          })),
        ),
      ),
  },
  single(
    'proxy_worker_restarts_total',
    'Proxy workers started in place of one that was lost',
    ({ proxyWorkerRestarts }) => proxyWorkerRestarts,
  ),
  single(
    'steering_failures_total',
    'Attempts to redirect VIPs to the proxies that failed',
    ({ steeringFailures }) => steeringFailures,
  ),
];

/** Renders the facts for Prometheus. */
export class MetricsPage {
  readonly #registry = new Registry();
  readonly #update: (facts: HttpFacts) => void;
  readonly #loopDelay = monitorEventLoopDelay({ resolution: LOOP_PROBE_MS });

  constructor() {
    const updates = METRICS.map((metric) => register(metric, this.#registry));
    this.#update = (facts) => {
      for (const update of updates) update(facts);
    };
    this.#loopDelay.enable();
    this.#registerLoopDelay();
    registerProcessMetrics(this.#registry);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  render(facts: HttpFacts): Promise<string> {
    this.#update(facts);
    return this.#registry.metrics();
  }

  /** Ends what measures in the background. */
  close(): void {
    this.#loopDelay.disable();
  }

  #registerLoopDelay(): void {
    const histogram = this.#loopDelay;
    new Gauge({
      name: `${PREFIX}event_loop_delay_p99_seconds`,
      help: 'How late the event loop ran its timers since the last scrape, 99th percentile',
      registers: [this.#registry],
      collect() {
        // The histogram holds the time from tick to tick, so an idle loop shows the probe's period.
        const lateMs = histogram.percentile(99) / 1e6 - LOOP_PROBE_MS;
        this.set(Number.isFinite(lateMs) ? Math.max(0, lateMs) / 1_000 : 0);
        histogram.reset();
      },
    });
  }
}

function registerProcessMetrics(registry: Registry): void {
  // The library's own event-loop metrics contain the period of their probe and would wake this
  // process 100 times a second; ours replaces them.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 60_000 });
  for (const { name } of registry.getMetricsAsArray()) {
    if (name.startsWith('nodejs_eventloop_lag')) registry.removeSingleMetric(name);
  }
}

/** Adds `metric` to `registry`; returns how to bring it up to date. */
function register(metric: Metric, registry: Registry): (facts: HttpFacts) => void {
  const options = {
    name: PREFIX + metric.name,
    help: metric.help,
    labelNames: [...metric.labels],
    registers: [registry],
  };
  if (metric.name.endsWith('_total')) {
    const counter = new Counter(options);
    return (facts) => {
      counter.reset();
      for (const { labels, value } of metric.samples(facts)) counter.inc({ ...labels }, value);
    };
  }
  const gauge = new Gauge(options);
  return (facts) => {
    // Series of what has left the spec must go.
    gauge.reset();
    for (const { labels, value } of metric.samples(facts)) gauge.set({ ...labels }, value);
  };
}

function single(name: string, help: string, value: (facts: HttpFacts) => number | boolean): Metric {
  return { name, help, labels: [], samples: (facts) => [{ labels: {}, value: +value(facts) }] };
}

function perFrontend(
  name: string,
  help: string,
  value: (frontend: FrontendFacts) => number,
): Metric {
  const samples = ({ frontends }: HttpFacts): Sample[] =>
    frontends.map((each) => ({ labels: { frontend: each.name }, value: value(each) }));
  return { name, help, labels: ['frontend'], samples };
}

function perBackend(name: string, help: string, value: (backend: BackendFacts) => number): Metric {
  const samples = ({ frontends }: HttpFacts): Sample[] =>
    frontends.flatMap((frontend) =>
      frontend.backends.map((backend) => ({
        labels: { frontend: frontend.name, backend: backend.name },
        value: value(backend),
      })),
    );
  return { name, help, labels: ['frontend', 'backend'], samples };
}
