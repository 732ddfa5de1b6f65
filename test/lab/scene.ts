/**
 * What nearly every scenario begins with: a lab, stand-in API servers, an observer, a settled
 * cluster and a client. Several scenarios may share one; each ends with the cluster settled again,
 * with HTTP endpoints that say so, and with the proof that there never were two holders.
 */
import { after, before, test } from 'node:test';
import { ApiServer, apiServerPort } from './api-server.ts';
import { until } from './clock.ts';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { assertEndpointsTellTheTruth } from './endpoints.ts';
import type { Host } from './host.ts';
import { createLab, type Lab, type LabOptions } from './lab.ts';
import { assertNeverTwo, Observer } from './observer.ts';
import { Traffic } from './traffic.ts';
import type { TrafficConfig } from './traffic-child.ts';

/** The longest is two minutes of load. */
const scenarioTimeoutMs = 240_000;

export type SceneOptions = LabOptions &
  ClusterOptions & {
    /** Once, when the cluster has settled. */
    readonly prepare?: (scene: Scene) => Promise<void>;
  };

export class Scene {
  readonly lab: Lab;
  readonly servers: readonly ApiServer[];
  readonly observer: Observer;
  readonly cluster: Cluster;

  private constructor(
    lab: Lab,
    servers: readonly ApiServer[],
    observer: Observer,
    cluster: Cluster,
  ) {
    this.lab = lab;
    this.servers = servers;
    this.observer = observer;
    this.cluster = cluster;
  }

  static async create(options: SceneOptions = {}): Promise<Scene> {
    const lab = await createLab(options);
    try {
      const servers = await ApiServer.startAll(lab.hosts);
      const observer = await Observer.start(lab);
      const cluster = await Cluster.form(lab, options);
      const scene = new Scene(lab, servers, observer, cluster);
      await options.prepare?.(scene);
      return scene;
    } catch (error) {
      const told = new Error(`${String(error)}\n${logTails(lab)}`, { cause: error });
      await lab.close();
      throw told;
    }
  }

  server(host: string): ApiServer {
    const found = this.servers.find((server) => server.host.name === host);
    if (found === undefined) throw new Error(`no API server on ${host}`);
    return found;
  }

  /** The host that holds the VIP, as the wire says. */
  async holder(): Promise<Host> {
    return this.lab.host(await this.observer.waitForHolder(this.lab.vip, 10_000));
  }

  /** A client of the VIP that has had its first answers. */
  async traffic(options: Partial<TrafficConfig> = {}, from = this.lab.client): Promise<Traffic> {
    const target = { address: this.lab.vip, port: apiServerPort, ...options };
    const traffic = await Traffic.start(from, target);
    await until(
      async () => {
        const { successes, openStreams } = await traffic.report();
        const begun = target.everyMs === 0 || successes.length > 20;
        return begun && openStreams === (target.streams ?? 0);
      },
      { timeoutMs: 10_000, what: 'answers through the VIP' },
    );
    await traffic.forget();
    return traffic;
  }

  async close(): Promise<void> {
    await this.lab.close();
  }
}

/** The last words of every agent of the lab. */
export function logTails(lab: Lab, characters = 3_000): string {
  return lab.hosts
    .filter(({ agentLog }) => agentLog !== '')
    .map(({ name, agentLog }) => `--- ${name}\n${agentLog.slice(-characters)}`)
    .join('\n');
}

/** Declares scenarios that share one scene, made before the first and gone after the last. */
export function scenarios(
  options: SceneOptions,
): (name: string, play: (scene: Scene) => Promise<void>, timeoutMs?: number) => void {
  let scene: Scene | null = null;
  before(async () => {
    scene = await Scene.create(options);
  });
  after(async () => {
    await scene?.close();
  });
  return (name, play, timeoutMs = scenarioTimeoutMs) => {
    test(name, { timeout: timeoutMs }, async () => {
      if (scene === null) throw new Error('there is no scene');
      await playOn(scene, play);
    });
  };
}

async function playOn(scene: Scene, play: (scene: Scene) => Promise<void>): Promise<void> {
  const { lab, observer, cluster } = scene;
  // What one that failed has left.
  await lab.switch.heal();
  await Promise.all(scene.servers.map((server) => server.setMode('ok')));
  await observer.forget();
  try {
    await play(scene);
    await lab.switch.heal();
    await cluster.settled();
    await assertEndpointsTellTheTruth(scene);
    for (const vip of lab.vips) assertNeverTwo(await observer.report(vip));
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${logTails(lab)}`, {
      cause: error,
    });
  }
}
