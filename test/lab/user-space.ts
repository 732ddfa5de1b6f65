/** Leads the traffic of a scene through worker processes, where these are what is tried. */
import { until } from './clock.ts';
import type { Scene } from './scene.ts';
import { changeSpec } from './spec.ts';

export async function balanceInUserSpace(scene: Scene): Promise<void> {
  await changeSpec(scene, ({ frontends }) => {
    for (const frontend of frontends as { dataPath?: string }[]) frontend.dataPath = 'proxy';
  });
  await until(
    async () => {
      const status = await scene.cluster.status(await scene.holder());
      return status.frontends.every(({ dataPath }) => dataPath === 'proxy');
    },
    { timeoutMs: 10_000, everyMs: 100, what: 'traffic to go by the proxy' },
  );
}
