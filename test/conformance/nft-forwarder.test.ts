/**
 * What nftables itself asks of the forwarder, on the real kernel: it stands beside others' tables,
 * comes back when it was flushed, and costs little, however many frontends there are. Needs root.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, suite, test } from 'node:test';
import { slotsOf } from '../../src/lb/forwarding-slots.ts';
import type { ForwardPlan } from '../../src/lb/ports.ts';
import { sweep } from '../../src/linux/cleanup.ts';
import { createNftForwarder } from '../../src/linux/nft-forwarder.ts';
import { enterFreshNamespace, run } from './netns.ts';

enterFreshNamespace();
const forwarder = createNftForwarder(slotsOf);
after(() => forwarder.clear());

const TABLE = 'inet holdfast_forward';
const FRONTENDS = 1_000;
const BACKENDS = 5;

function plan(index: number, backends = BACKENDS): ForwardPlan {
  return {
    name: `f${index}`,
    address: `10.1.${index >> 8}.${index & 255}`,
    port: 6443,
    protocol: 'tcp',
    scheduler: 'round-robin',
    backends: Array.from({ length: backends }, (_, n) => ({
      ...{ name: `b${n}`, address: `10.2.${n}.${index & 255}`, port: 6443, weight: 1 },
      mode: 'masquerade',
    })),
  };
}

function listing(): string {
  return run(`nft list table ${TABLE}`);
}

/** Processor time of this process and of those it waited for. */
function cpuMs(): number {
  // proc_pid_stat(5): utime, stime, cutime and cstime, behind the name in parentheses.
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
}

suite('the table', () => {
  test('is put back after a flush, as a whole or of its rules alone', async () => {
    await forwarder.set([plan(1)]);
    const whole = listing();
    for (const flush of ['flush ruleset', `flush table ${TABLE}`, `delete table ${TABLE}`]) {
      run(`nft ${flush}`);
      await forwarder.set([plan(1)]);
      assert.equal(listing(), whole, flush);
    }
  });

  test('goes with a clean-up, and nothing of others', async () => {
    await forwarder.set([plan(1)]);
    run('nft add table inet theirs');

    assert.deepEqual(sweep(), [`nft table ${TABLE}`]);
    assert.equal(run('nft list tables').trim(), 'table inet theirs');
    run('nft delete table inet theirs');
  });

  test('is left alone while all stands, whatever others do', async () => {
    await forwarder.set([plan(1)]);
    const handles = run(`nft -a list table ${TABLE}`);
    run('nft add table inet theirs');
    await forwarder.set([plan(1)]);

    assert.equal(run(`nft -a list table ${TABLE}`), handles);
    run('nft delete table inet theirs');
  });

  test('follows frontends as they come, lose their backends, and go', async () => {
    await forwarder.set([plan(1), plan(2)]);
    await forwarder.set([plan(1, 0), plan(3)]);
    const text = listing();

    assert.match(text, /set refused4 \{[^}]*10\.1\.0\.1 \. tcp \. 6443/);
    assert.match(text, /10\.1\.0\.3 \. tcp \. 6443 : goto/);
    assert.doesNotMatch(text, /10[._]1[._]0[._]2/);
    assert.equal([...text.matchAll(/dnat ip to numgen/g)].length, 1);
    assert.equal([...text.matchAll(/counter to4_10_1_0_3_/g)].length, BACKENDS);
  });

  test('does not touch what kube-proxy made, in either of its forms, nor it ours', async () => {
    const theirs = [
      'add table ip kube-proxy',
      'add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority dstnat ; }',
      'add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority srcnat ; }',
      'add rule ip kube-proxy nat-prerouting ip daddr 10.96.0.1 tcp dport 443 dnat to 10.2.0.1:6443',
      'add table ip nat',
      'add chain ip nat PREROUTING { type nat hook prerouting priority dstnat ; }',
      'add chain ip nat KUBE-SERVICES',
      'add rule ip nat PREROUTING counter jump KUBE-SERVICES',
    ];
    for (const command of theirs) run(`nft ${command}`);
    const before = ['kube-proxy', 'nat'].map((name) => run(`nft list table ip ${name}`));
    await forwarder.set([plan(1)]);
    await forwarder.set([plan(1, 2)]);
    const ours = listing();
    run('nft flush table ip nat');
    run('nft add rule ip nat PREROUTING counter jump KUBE-SERVICES');
    assert.equal(listing(), ours);
    await forwarder.clear();

    assert.deepEqual(
      ['kube-proxy', 'nat'].map((name) => run(`nft list table ip ${name}`)),
      before,
    );
    for (const name of ['kube-proxy', 'nat']) run(`nft delete table ip ${name}`);
    assert.equal(run('nft list tables').trim(), '');
  });
});

test(`${FRONTENDS} frontends of ${BACKENDS} cost 2 s of a processor, a change a trice, idling nothing`, async () => {
  const plans = Array.from({ length: FRONTENDS }, (_, index) => plan(index));
  const began = cpuMs();
  await forwarder.set(plans);
  const firstMs = cpuMs() - began;
  const changed = cpuMs();
  await forwarder.set([plan(0, 4), ...plans.slice(1)]);
  const changeMs = cpuMs() - changed;
  const idle = cpuMs();
  const looks = 20;
  const wish = [plan(0, 4), ...plans.slice(1)];
  for (let i = 0; i < looks; i++) await forwarder.set(wish);
  const lookMs = (cpuMs() - idle) / looks;

  assert.ok(firstMs < 2_000, `${firstMs} ms for all`);
  assert.ok(changeMs < firstMs, `${changeMs} ms for one, ${firstMs} ms for all`);
  // It is looked at every 5 s: 1 % of a core is 50 ms each time.
  assert.ok(lookMs < 50, `${lookMs} ms for each look`);
});
