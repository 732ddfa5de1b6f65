/**
 * One VIP with a port for each data path, over the same API servers: what a scenario does to the
 * servers, all paths have to answer for at the same time. Three of the hosts are members; n4 is a
 * backend that no member is, so that it may be struck without a word to the cluster.
 */
import { statusOf } from './agent-view.ts';
import { apiServerPort } from './api-server.ts';
import { until } from './clock.ts';
import type { Host } from './host.ts';
import type { Scene, SceneOptions } from './scene.ts';
import { changeSpec } from './spec.ts';
import { perServer, type Traffic } from './traffic.ts';
import type { TrafficConfig, TrafficReport } from './traffic-child.ts';

export type LabDataPath = 'proxy' | 'nftables';

export interface Port {
  /** The frontend is called so, too. */
  readonly dataPath: LabDataPath;
  readonly port: number;
}

export const ports: readonly Port[] = [
  { dataPath: 'proxy', port: apiServerPort },
  { dataPath: 'nftables', port: apiServerPort + 1 },
];

/** Half a second, so that many scenarios fit in a minute; the rest as it is without a word. */
export const probing = { intervalMs: 500, timeoutMs: 500, rise: 2, fall: 2 };

/** Jitter of the probes, the way from the worker to the kernel, and a busy machine. */
const slackMs = 700;
/** From the death of a backend that refuses to the last connection that it may be given. */
export const fallMs = probing.fall * probing.intervalMs + slackMs;
/** The same for one that stays silent: the last of the probes also takes its time to fail. */
export const silentFallMs = fallMs + probing.timeoutMs;

/** The host that is a backend and no more. */
export const aside = 'n4';

export const members = ['n1', 'n2', 'n3'] as const;

export const balancedScene: SceneOptions = {
  hosts: 4,
  members: 3,
  prepare: async (scene) => {
    await changeSpec(scene, (spec) => {
      spec.frontends = ports.map((each) => frontendOf(scene, each));
    });
    await allUp(scene);
  },
};

export interface LabFrontend {
  name: string;
  vip: string;
  port: number;
  dataPath: string;
  scheduler: string;
  prefer?: string;
  backends: {
    members?: { port: number };
    static: { address: string; port: number; weight?: number }[];
  };
  healthCheck: object;
}

export function frontendOf(scene: Scene, { dataPath, port }: Port): LabFrontend {
  const { intervalMs, timeoutMs, rise, fall } = probing;
  return {
    name: dataPath,
    vip: scene.lab.vip,
    port,
    dataPath,
    scheduler: 'round-robin',
    backends: {
      members: { port: apiServerPort },
      static: [{ address: scene.lab.host(aside).address, port: apiServerPort }],
    },
    healthCheck: {
      path: `/readyz?${dataPath}`,
      interval: `${intervalMs}ms`,
      timeout: `${timeoutMs}ms`,
      rise,
      fall,
    },
  };
}

/** What a backend is called: a member by its name, the one aside by its endpoint. */
export function backendName(scene: Scene, host: string): string {
  return host === aside ? `${scene.lab.host(aside).address}:${apiServerPort}` : host;
}

type States = Readonly<Record<string, string>>;

/** `host frontend backend` → state, as the status of each of `hosts` has it. */
export async function statesOn(hosts: readonly Host[]): Promise<States> {
  const lines = await Promise.all(
    hosts.map(async (host) => {
      const { frontends } = await statusOf(host);
      return frontends.flatMap(({ name, backends }) =>
        backends.map((each): [string, string] => [
          `${host.name} ${name} ${each.name}`,
          String(each.state),
        ]),
      );
    }),
  );
  return Object.fromEntries(lines.flat());
}

/**
 * Waits until every member says that the `wanted` backends (by host) are in these states, and all
 * others up, on every path.
 */
export async function waitForStates(scene: Scene, wanted: States, timeoutMs = 10_000) {
  let odd: readonly string[] = ['nothing was looked at'];
  const states = new Map(
    Object.entries(wanted).map(([host, state]) => [backendName(scene, host), state]),
  );
  await until(
    async () => {
      const seen = Object.entries(await statesOn(scene.cluster.running()));
      odd = seen
        .filter(([key, state]) => state !== (states.get(key.split(' ')[2] ?? '') ?? 'up'))
        .map((each) => each.join(' is '));
      return odd.length === 0;
    },
    { timeoutMs, everyMs: 100, what: 'the states of the backends' },
  ).catch((cause: unknown) => {
    throw new Error(`wanted ${JSON.stringify(wanted)}, but ${odd.join(', ')}`, { cause });
  });
}

/** Waits until every member has every backend up, and the holder goes the way asked for. */
export async function allUp(scene: Scene): Promise<void> {
  await waitForStates(scene, {}, 20_000);
  await waitForPaths(scene, Object.fromEntries(ports.map(({ dataPath }) => [dataPath, dataPath])));
}

/** Waits until the holder has these frontends, no others, and each goes the way given here. */
export async function waitForPaths(
  scene: Scene,
  wanted: Readonly<Record<string, string>>,
): Promise<void> {
  const holder = await scene.holder();
  let seen: readonly string[] = [];
  await until(
    async () => {
      const { frontends } = await statusOf(holder);
      seen = frontends.map((each) => `${each.name} by ${each.dataPath} (${each.dataPathReason})`);
      return (
        frontends.length === Object.keys(wanted).length &&
        frontends.every(({ name, dataPath }) => dataPath === wanted[name])
      );
    },
    { timeoutMs: 10_000, everyMs: 100, what: 'the data paths' },
  ).catch((cause: unknown) => {
    throw new Error(`wanted ${JSON.stringify(wanted)}, but ${seen.join('; ')}`, { cause });
  });
}

/** Does the same on every path at once; an error names the paths that failed. */
export async function onEachPath<T>(play: (port: Port) => Promise<T>): Promise<readonly T[]> {
  const outcomes = await Promise.allSettled(ports.map(play));
  const failures = outcomes.flatMap((outcome, at) => {
    if (outcome.status === 'fulfilled') return [];
    const { reason } = outcome;
    const message = reason instanceof Error ? reason.message : String(reason);
    return [`by ${ports[at]?.dataPath}: ${message}`];
  });
  if (failures.length > 0) throw new Error(failures.join('\n'));
  return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
}

/** A client of every path. */
export class Clients {
  readonly #traffics: ReadonlyMap<Port, Traffic>;

  private constructor(traffics: ReadonlyMap<Port, Traffic>) {
    this.#traffics = traffics;
  }

  /** By default a connection every 10 ms. */
  static async start(scene: Scene, options: Partial<TrafficConfig> = {}): Promise<Clients> {
    const traffics = await onEachPath(async (each): Promise<[Port, Traffic]> => {
      const { port } = each;
      return [each, await scene.traffic({ everyMs: 10, port, ...options })];
    });
    return new Clients(new Map(traffics));
  }

  async forget(): Promise<void> {
    await Promise.all([...this.#traffics.values()].map((traffic) => traffic.forget()));
  }

  /** Looks at what each client has seen. */
  async look(judge: (report: TrafficReport, dataPath: LabDataPath) => void): Promise<void> {
    await onEachPath(async (port) => judge(await this.#of(port).report(), port.dataPath));
  }

  /** The same, and the end of the clients, whatever is said. */
  async stop(judge: (report: TrafficReport, dataPath: LabDataPath) => void): Promise<void> {
    const reports = new Map(
      await onEachPath(async (port) => [port, await this.#of(port).stop()] as const),
    );
    await onEachPath(async (port) => {
      const report = reports.get(port);
      if (report !== undefined) judge(report, port.dataPath);
    });
  }

  #of(port: Port): Traffic {
    const traffic = this.#traffics.get(port);
    if (traffic === undefined) throw new Error(`no client of ${port.dataPath}`);
    return traffic;
  }
}

/** Who answered, in the order of their names. */
export function servers(report: TrafficReport): readonly string[] {
  return [...perServer(report).keys()].sort();
}
