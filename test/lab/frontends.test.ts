/** A second port from the first day (`init --frontend`), as RKE2's supervisor needs it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './clock.ts';
import { Cluster } from './cluster.ts';
import { createLab } from './lab.ts';

test('init --frontend 9345:tcp serves that port on the VIP too', async () => {
  const lab = await createLab({ hosts: 1 });
  try {
    const [host] = lab.hosts;
    assert.ok(host !== undefined);
    // A probe ends with a reset, which may come before the greeting has left.
    const greet = "(s) => s.on('error', () => undefined).end('supervisor')";
    const serve = `require('node:net').createServer(${greet}).listen(9345, '::')`;
    host.spawn([process.execPath, '-e', serve], { log: 'supervisor' });
    const cluster = await Cluster.initialise(lab, host, ['--frontend', '9345:tcp']);
    const status = await until(
      async () => {
        const { frontends } = await cluster.status(host);
        const up = frontends.find(({ port }) => port === 9345)?.backends[0]?.state === 'up';
        return up ? frontends : undefined;
      },
      { timeoutMs: 10_000, what: 'the second frontend to have a backend' },
    );
    assert.deepEqual(status.map(({ port }) => port).sort(), [6443, 9345]);

    const ask = `require('node:net').connect(9345, '${lab.vip}').pipe(process.stdout)`;
    await until(
      async () => (await lab.client.exec([process.execPath, '-e', ask])).stdout === 'supervisor',
      { timeoutMs: 10_000, what: 'an answer through the second port' },
    );
  } finally {
    await lab.close();
  }
});
