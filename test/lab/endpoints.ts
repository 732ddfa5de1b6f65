/** livez, readyz and metrics of an agent, read from inside its host and held against the truth. */
import assert from 'node:assert/strict';
import { until } from './clock.ts';
import type { Cluster } from './cluster.ts';
import type { Fetched, Host } from './host.ts';
import type { Lab } from './lab.ts';
import type { Observer } from './observer.ts';

const httpPort = 7444;

export function endpoint(host: Host, path: string): Promise<Fetched> {
  return host.fetch(urlOf(path));
}

function urlOf(path: string): string {
  return `http://127.0.0.1:${httpPort}${path}`;
}

/** Every series with its value, by its text: `holdfast_vip_held{vip="10.77.0.100"}`. */
export async function metricsOf(host: Host): Promise<ReadonlyMap<string, number>> {
  return readMetrics(await endpoint(host, '/metrics'));
}

function readMetrics({ status, body }: Fetched): ReadonlyMap<string, number> {
  assert.equal(status, 200, body);
  const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

/** The sum over the series of `name` whose labels contain every one of `labels`. */
export function metric(
  metrics: ReadonlyMap<string, number>,
  name: string,
  labels: readonly string[] = [],
): number | null {
  const matching = [...metrics].filter(
    ([series]) =>
      (series === name || series.startsWith(`${name}{`)) &&
      labels.every((label) => series.includes(label)),
  );
  return matching.length === 0 ? null : matching.reduce((sum, [, value]) => sum + value, 0);
}

interface Watched {
  readonly lab: Lab;
  readonly cluster: Cluster;
  readonly observer: Observer;
}

/** In a settled cluster: all alive and ready, and exactly the holder says that it holds the VIP. */
export async function assertEndpointsTellTheTruth({
  lab,
  cluster,
  observer,
}: Watched): Promise<void> {
  await until(
    async () => {
      for (const host of cluster.running()) {
        const urls = ['/livez', '/readyz', '/metrics'].map(urlOf);
        const [live, ready, told] = await host.fetchAll(urls);
        assert.ok(live !== undefined && ready !== undefined && told !== undefined);
        assert.deepEqual([live.status, ready.status], [200, 200], `${host.name}: ${ready.body}`);
        const metrics = readMetrics(told);
        const holds = observer.holder(lab.vip) === host.name ? 1 : 0;
        assert.equal(metric(metrics, 'holdfast_vip_held', [lab.vip]), holds, host.name);
        assert.equal(metric(metrics, 'holdfast_is_leader'), holds, host.name);
      }
      return true;
    },
    { timeoutMs: 5_000, everyMs: 200, what: 'endpoints that tell the truth' },
  );
}
