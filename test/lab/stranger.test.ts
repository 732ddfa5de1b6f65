/** A host outside of the cluster has the VIP: nobody claims it until that host lets go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './clock.ts';
import { Cluster } from './cluster.ts';
import { metric, metricsOf } from './endpoints.ts';
import { createLab } from './lab.ts';
import { must } from './shell.ts';

test('a leader does not claim a VIP that a stranger answers for, and says who it is', async () => {
  const lab = await createLab({ hosts: 1 });
  try {
    const [host] = lab.hosts;
    assert.ok(host !== undefined);
    const cluster = await Cluster.initialise(lab, host);
    await cluster.settled();
    await host.stopAgent();
    const atStranger = ['ip', '-n', lab.client.namespace, 'addr'];
    await must([...atStranger, 'add', `${lab.vip}/24`, 'dev', 'eth0']);

    await host.startAgent();
    const refused = await until(
      async () => {
        const status = await cluster.status(host);
        return status.self.role === 'leader' && status.self.eligible === false ? status : undefined;
      },
      { timeoutMs: 5_000, what: 'the leader to notice the stranger' },
    );
    assert.match(refused.self.reason, /a stranger, 02:00:00:4d:00:[0-9a-f]{2}, answers for/);
    assert.match(refused.warnings.join('\n'), /which is no member/);
    assert.equal(refused.vips[0]?.heldHere, false);
    assert.match(
      host.agentLog,
      /vip\.stranger .*blocks=true term=\d+ reason="it answers, so nobody/,
    );
    assert.equal(metric(await metricsOf(host), 'holdfast_vip_conflicts_total'), 1);
    assert.doesNotMatch(host.agentLog.split('vip.stranger').at(-1) ?? '', /vip\.claimed/);

    await must([...atStranger, 'del', `${lab.vip}/24`, 'dev', 'eth0']);
    await until(
      async () => {
        const status = await cluster.status(host);
        return status.vips[0]?.heldHere === true ? true : undefined;
      },
      { timeoutMs: 5_000, what: 'the VIP to be claimed once the stranger is gone' },
    );
  } finally {
    await lab.close();
  }
});
