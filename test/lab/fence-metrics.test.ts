/** What metrics, log and status tell of the lease and its fence, held against what was done. */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { lasting, until } from './clock.ts';
import { metric, metricsOf } from './endpoints.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';

const scenario = scenarios({});
const foreignProgram = fileURLToPath(new URL('foreign-program-child.ts', import.meta.url));

async function value(host: Host, name: string, labels: readonly string[] = []): Promise<number> {
  return metric(await metricsOf(host), `holdfast_${name}`, labels) ?? Number.NaN;
}

/** Waits until a counter stands `by` above what it was. */
async function grown(host: Host, name: string, before: number, by: number): Promise<void> {
  await until(async () => (await value(host, name)) >= before + by, {
    timeoutMs: 5_000,
    what: `holdfast_${name} on ${host.name} to grow by ${by} from ${before}`,
  });
}

async function cast(scene: Scene): Promise<{ readonly holder: Host; readonly follower: Host }> {
  const holder = await scene.holder();
  const follower = scene.lab.hosts.find((host) => host !== holder);
  assert.ok(follower !== undefined);
  return { holder, follower };
}

scenario('the holder renews its fence, the others drop what is sent to them', async (scene) => {
  const { holder, follower } = await cast(scene);
  const renewals = await value(holder, 'fence_renewals_total');
  const dropped = await value(follower, 'fence_dropped_frames_total');

  await grown(holder, 'fence_renewals_total', renewals, 10);
  await grown(follower, 'fence_dropped_frames_total', dropped, 100);

  assert.equal(await value(follower, 'fence_renewals_total'), 0);
  assert.equal(await value(follower, 'lease_remaining_seconds'), 0);
  const left = await value(holder, 'lease_remaining_seconds');
  const promised = await value(holder, 'promise_seconds');
  assert.ok(left > 0 && left < promised, `${left} s of a promise of ${promised} s`);
  for (const host of [holder, follower]) {
    assert.equal(await value(host, 'fence_standing', ['ebpf']), 1);
    assert.equal(await value(host, 'fence_standing', ['nft']), 1);
    assert.ok((await value(host, 'event_loop_delay_p99_seconds')) < 0.2);
    const { self, vips } = await scene.cluster.status(host);
    assert.deepEqual(self.fences, ['ebpf', 'nft', 'lifetime']);
    const why =
      host === holder ? /leads term \d+ with the lease/ : new RegExp(`${holder.name} lea`);
    assert.match(vips[0]?.reason ?? '', why);
  }
});

scenario('a fence that is bypassed is a miss, and the VIP is back at once', async (scene) => {
  const { holder } = await cast(scene);
  const misses = await value(holder, 'fence_misses_total');
  const announced = await value(holder, 'arp_announcements_total');

  await holder.exec([process.execPath, foreignProgram, 'attach']);
  await grown(holder, 'fence_misses_total', misses, 1);
  await holder.exec([process.execPath, foreignProgram, 'detach']);

  assert.equal(await scene.observer.waitForHolder(scene.lab.vip, 2_000), holder.name);
  await grown(holder, 'arp_announcements_total', announced, 2);
  assert.match(
    holder.agentLog,
    /vip\.fence-missing .*fence=ebpf\+nft term=\d+ leaseLeftMs=-?\d+ reason="others took/,
  );
  assert.match(
    holder.agentLog,
    /vip\.withdrawn .*term=\d+ heldMs=\d+ .*reason="others took the fence/,
  );
});

/** How others load their rules: all at once, and whatever else there was is gone. */
const others = `flush ruleset
table inet filter { chain input { type filter hook input priority 0; policy accept; }; }
`;
/** firewalld lets only established connections go on while it loads its rules. */
const meanwhile = ['input', 'output']
  .map((hook) => `chain ${hook} { type filter hook ${hook} priority 9; policy drop;`)
  .map((chain) => `${chain} ct state established,related accept; };`)
  .join(' ');
const closed = `flush ruleset\ntable inet firewalld_policy_drop { ${meanwhile} }\n`;

const reloads: readonly {
  readonly what: string;
  readonly play: (nft: (rules: string) => Promise<void>) => Promise<void>;
}[] = [
  {
    what: 'a restart and a reload of nftables.service',
    play: async (nft) => {
      for (const rules of ['flush ruleset\n', others, others]) await nft(rules);
    },
  },
  {
    what: 'a reload of firewalld, closed for half a second,',
    play: async (nft) => {
      await nft(closed);
      await lasting(500);
      await nft(others);
    },
  },
];

for (const { what, play } of reloads) {
  scenario(`${what} leaves the VIP where it is, and takes no fence for good`, async (scene) => {
    const { lab, observer, cluster } = scene;
    const { holder, follower } = await cast(scene);
    for (const host of [holder, follower]) {
      await play(async (rules) => {
        const { code, stderr } = await host.exec(['nft', '-f', '-'], { input: rules });
        assert.equal(code, 0, stderr);
      });
      await until(
        async () => {
          const { self, warnings } = await cluster.status(host);
          return self.fences.join() === 'ebpf,nft,lifetime' && warnings.join().indexOf('eBPF') < 0;
        },
        { timeoutMs: 6_000, what: `all fences of ${host.name}` },
      );
    }
    const { tenures } = await observer.report(lab.vip);
    assert.deepEqual(
      tenures.map(({ host }) => host),
      [holder.name],
    );
    assert.equal(await value(holder, 'fence_standing', ['nft']), 1);
    for (const host of [holder, follower]) await host.exec(['nft', 'delete table inet filter']);
  });
}

scenario('an address that somebody removes is a repair, and announced again', async (scene) => {
  const { lab, observer } = scene;
  const { holder } = await cast(scene);
  const repairs = await value(holder, 'vip_repairs_total');
  const sent: number[] = [];

  for (let round = 0; round < 2; round++) {
    await observer.forget();
    await holder.exec(['ip', 'addr', 'del', `${lab.vip}/32`, 'dev', 'eth0']);
    // A request and a reply, five times within two seconds; then nothing for eight.
    await until(
      async () => {
        const { records } = await observer.report(lab.vip);
        return records.filter(({ kind }) => kind === 'announce').length >= 10;
      },
      { timeoutMs: 5_000, what: 'ten announcements on the wire' },
    );
    sent.push(await value(holder, 'arp_announcements_total'));
  }

  const [first = Number.NaN, second = Number.NaN] = sent;
  assert.equal(second - first, 10, 'as many as were on the wire');
  await grown(holder, 'vip_repairs_total', repairs, 2);
});

scenario('a pause is an expiry of the fence, a new leader and a late loop', async (scene) => {
  const { holder, follower } = await cast(scene);
  const expiries = await value(holder, 'fence_expiries_total');
  const changes = await value(follower, 'leader_changes_total');
  const transitions = await value(holder, 'vip_transitions_total');

  holder.pauseAgent();
  await scene.observer.waitForHolder(scene.lab.vip, 5_000, (name) => name !== holder.name);
  await lasting(200);
  holder.resumeAgent();

  await grown(holder, 'fence_expiries_total', expiries, 1);
  await grown(follower, 'leader_changes_total', changes, 1);
  await grown(holder, 'vip_transitions_total', transitions, 1);
  await until(() => /agent\.loop-late .*delayMs=\d+ leaseSpareMs=\d+/.test(holder.agentLog), {
    timeoutMs: 5_000,
    what: 'the log to tell of the late loop',
  });
  assert.match(
    holder.agentLog,
    /vip\.fence-expired .*term=\d+ heldMs=\d+ lateMs=\d+ reason="the agent was late/,
  );
  const heir = await scene.holder();
  assert.match(heir.agentLog, /vip\.claimed .*term=\d+ leaseLeftMs=\d+ reason="leads term/);
});
