/**
 * Forwarding by virtual servers where the kernel may have none: nothing to do is done at once, and
 * whoever asks for more is told what is missing. Needs root.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import type { ForwardPlan } from '../../src/lb/ports.ts';
import { createIpvsForwarder } from '../../src/linux/ipvs-forwarder.ts';
import { enterFreshNamespace, run } from './netns.ts';

enterFreshNamespace();

const plan: ForwardPlan = {
  name: 'api',
  address: '10.78.0.100',
  port: 6443,
  protocol: 'tcp',
  scheduler: 'round-robin',
  backends: [],
};

test('no plan is no trouble, with IPVS and without', async () => {
  const forwarder = createIpvsForwarder();
  await forwarder.set([]);
  assert.equal(await forwarder.release(plan.address), 0);
  await forwarder.clear();
  assert.doesNotMatch(run('nft list tables'), /holdfast_ipvs/);
});

test('a plan is refused with what to do where the kernel has no IPVS', async () => {
  const forwarder = createIpvsForwarder();
  if (existsSync('/proc/net/ip_vs')) {
    await forwarder.set([plan]);
    assert.match(run('nft list tables'), /holdfast_ipvs/);
    await forwarder.clear();
    return;
  }
  assert.match(forwarder.unavailable() ?? '', /run modprobe ip_vs/);
  await assert.rejects(forwarder.set([plan]), /the kernel has no IPVS/);
});
