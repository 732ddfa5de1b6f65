// What a member says it sees of a VIP that another one holds.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Lookout } from '../../../src/agent/lookout.ts';
import { silentLogger } from '../../../src/base/log.ts';
import type { ObservationReport } from '../../../src/cluster/observations.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { emptyState, type Member } from '../../../src/cluster/state.ts';
import type { ClusterView } from '../../../src/cluster/view.ts';
import { FakeClock } from '../../conformance/fakes.ts';

const vip = { address: '10.0.0.100', interface: 'eth0' };
const holderMac = '02:00:00:00:00:02';
const otherMac = '02:aa:00:00:00:09';
const spec = defaultSpec({
  vips: [{ address: vip.address, interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [],
});
const members = [
  { id: 'a', macs: [] },
  { id: 'b', macs: [holderMac] },
] as unknown as readonly Member[];

function stage(leader = 'b') {
  const clock = new FakeClock();
  let view = { selfId: 'a', leader, term: 3, state: { ...emptyState, spec, members } };
  const carried = [vip];
  const world = { answers: [holderMac] as readonly string[], connect: null as string | null };
  const reports: ObservationReport[] = [];
  const asked: (string | undefined)[] = [];
  let tell: (view: ClusterView) => void = () => undefined;
  const lookout = new Lookout({
    clock,
    log: silentLogger,
    node: {
      view: () => view as unknown as ClusterView,
      onView: (listener) => {
        tell = listener;
        return () => undefined;
      },
    },
    link: {
      send: () => ({ ok: true }),
      probe: async (_vip, _waitMs, source) => {
        asked.push(source);
        return world.answers;
      },
    },
    vips: () => carried,
    links: () => [
      {
        ...{ index: 2, name: 'eth0', mac: '02:00:00:00:00:01', up: true, loopback: false },
        addresses: [
          { address: vip.address, prefixLength: 32 },
          { address: 'fd00::1', prefixLength: 64 },
          { address: '10.0.0.1', prefixLength: 24 },
        ],
        carrierChanges: 0,
        carriers: [],
        defaultRouteOf: [],
      },
    ],
    connect: async () => world.connect,
    report: async (report) => void reports.push(report),
  });
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(50);
      for (let i = 0; i < 4; i++) await turn();
    }
  };
  const elect = (id: string, term: number): void => {
    view = { ...view, leader: id, term };
    tell(view as unknown as ClusterView);
  };
  const add = (address: string): void => {
    carried.push({ ...vip, address });
    const vips = carried.map((each) => ({ ...spec.vips[0], address: each.address }));
    const changed = { ...spec, vips } as typeof spec;
    view = { ...view, state: { ...view.state, spec: changed } };
    tell(view as unknown as ClusterView);
  };
  return { lookout, world, reports, asked, pass, elect, add };
}

describe('Lookout', () => {
  it('asks in its own name soon after a claim, and then every ten seconds', async () => {
    const { lookout, reports, asked, pass } = stage();
    lookout.start();
    await pass(200);

    assert.deepEqual(asked, ['10.0.0.1']);
    assert.deepEqual(reports, [
      {
        ...{ nodeId: 'a', term: 3, ageMs: 0 },
        observations: [{ address: vip.address, reached: true, reason: '' }],
      },
    ]);
    await pass(9_800);
    assert.equal(reports.length, 1);
    await pass(200);
    assert.equal(reports.length, 2);
  });

  for (const [name, answers, connect, want] of [
    ['nobody answers', [], null, 'no ARP answer'],
    [
      'another host answers',
      [otherMac],
      null,
      `ARP answered by ${otherMac}, expected ${holderMac}`,
    ],
    [
      'another host answers as well',
      [holderMac, otherMac],
      null,
      `ARP answered by ${otherMac}, expected ${holderMac}`,
    ],
    ['nobody listens', [holderMac], 'connect to port 6443 refused', 'connect to port 6443 refused'],
  ] as const) {
    it(`looks twice before it says that ${name}, and soon again`, async () => {
      const { lookout, world, reports, asked, pass } = stage();
      Object.assign(world, { answers, connect });
      lookout.start();
      await pass(500);

      assert.equal(asked.length, 2);
      assert.deepEqual(reports[0]?.observations, [
        { address: vip.address, reached: false, reason: want },
      ]);
      assert.equal(lookout.seen(vip.address)?.reason, want);
      Object.assign(world, { answers: [holderMac], connect: null });
      await pass(1_000);
      assert.equal(reports.at(-1)?.observations[0]?.reached, true);
    });
  }

  it('looks soon at a VIP that is added, and keeps what it saw of the others', async () => {
    const { lookout, reports, pass, add } = stage();
    lookout.start();
    await pass(200);
    add('10.0.0.101');
    assert.equal(lookout.seen(vip.address)?.reached, true);
    await pass(200);

    const seen = reports.at(-1)?.observations.map(({ address }) => address);
    assert.deepEqual(seen, [vip.address, '10.0.0.101']);
    await pass(9_800);
    assert.equal(reports.length, 2);
  });

  it('forgets what it saw when the leader changes, and looks at nothing while it leads', async () => {
    const { lookout, reports, asked, pass, elect } = stage();
    lookout.start();
    await pass(200);
    elect('a', 4);
    assert.equal(lookout.seen(vip.address), null);
    await pass(20_000);
    assert.equal(asked.length, 1);

    elect('b', 5);
    await pass(200);
    assert.equal(reports.at(-1)?.term, 5);
    lookout.stop();
    await pass(20_000);
    assert.equal(asked.length, 2);
  });
});
