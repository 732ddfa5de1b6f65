// What follows when somebody else claims a VIP: rule R12.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { silentLogger } from '../../../src/base/log.ts';
import { type ConflictPolicy, Conflicts } from '../../../src/vip/conflicts.ts';
import { FakeClock } from '../../conformance/fakes.ts';

const address = '10.0.0.100';
const stranger = '02:aa:00:00:00:01';
const member = '02:00:00:00:00:02';
const own = '02:00:00:00:00:01';

function stage(policy: ConflictPolicy, holding = true) {
  const clock = new FakeClock();
  const told: string[] = [];
  const logged: unknown[] = [];
  const state = { holding, asking: false };
  const conflicts = new Conflicts({
    clock,
    log: { ...silentLogger, error: (event, fields) => logged.push({ event, ...fields }) },
    isOwn: (mac) => mac === own,
    memberOf: (mac) => (mac === member ? 'n2' : null),
    policyOf: () => policy,
    holds: () => state.holding,
    term: () => 3,
    asking: () => state.asking,
    defend: (vip) => told.push(`defend ${vip}`),
    probe: async () => void told.push('probe'),
    onChange: () => told.push('changed'),
  });
  return { clock, conflicts, told, logged, state };
}

describe('a stranger claims a VIP that is defended', () => {
  it('is answered at once, and then at most once in ten seconds', () => {
    const { clock, conflicts, told } = stage('defend');
    for (let i = 0; i < 25; i++) {
      conflicts.heard({ address, mac: stranger });
      clock.advance(1_000);
    }

    assert.deepEqual(told, [`defend ${address}`, `defend ${address}`, `defend ${address}`]);
    assert.equal(conflicts.problem(), null);
    assert.equal(conflicts.yielded(address), null);
    assert.equal(conflicts.total, 25);
  });

  it('is an alarm for a minute', () => {
    const { clock, conflicts } = stage('defend');
    conflicts.heard({ address, mac: stranger });

    assert.deepEqual(conflicts.alarms(), [
      `${address} was claimed by ${stranger}, which is no member, and defended: find that host ` +
        'and take the address from it',
    ]);
    clock.advance(60_001);
    assert.deepEqual(conflicts.alarms(), []);
  });

  it('is nothing to hosts that do not hold it', () => {
    const { conflicts, told } = stage('defend', false);
    conflicts.heard({ address, mac: stranger });

    assert.deepEqual(told, []);
    assert.deepEqual(conflicts.alarms(), []);
    assert.equal(conflicts.total, 0);
  });
});

describe('the log of a conflict', () => {
  const common = { event: 'vip.conflict', address, holder: true, term: 3 };

  it('counts the claims of one claimant, seldom told, and says what follows', () => {
    const { clock, conflicts, logged } = stage('defend');
    for (let i = 0; i < 3; i++) {
      conflicts.heard({ address, mac: stranger });
      clock.advance(6_000);
    }

    const told = { ...common, mac: stranger, member: null };
    const reason = 'claimed by a stranger: defended';
    assert.deepEqual(logged, [
      { ...told, claims: 1, forMs: 0, reason },
      { ...told, claims: 3, forMs: 12_000, reason },
    ]);
  });

  it('tells of a member at once, whoever was told of before, and counts it apart', () => {
    const { clock, conflicts, logged } = stage('defend');
    conflicts.heard({ address, mac: stranger });
    clock.advance(1_000);
    conflicts.heard({ address, mac: member });

    const reason = 'a member claims it as well: everything is let go';
    const told = { ...common, mac: member, member: 'n2' };
    assert.deepEqual(logged.slice(1), [{ ...told, claims: 1, forMs: 0, reason }]);
  });
});

describe('a stranger claims a VIP that is yielded', () => {
  for (const holding of [true, false]) {
    it(`is left alone for ten seconds after its last claim, holding: ${holding}`, async () => {
      const { clock, conflicts, told } = stage('yield', holding);
      conflicts.heard({ address, mac: stranger });
      assert.equal(conflicts.yielded(address), `it was yielded to ${stranger}, which is no member`);
      clock.advance(5_000);
      conflicts.heard({ address, mac: stranger });
      clock.advance(9_999);
      await turn();
      assert.notEqual(conflicts.yielded(address), null);

      clock.advance(1);
      await turn();

      assert.equal(conflicts.yielded(address), null);
      assert.deepEqual(told, ['changed', 'probe', 'changed']);
      assert.equal(conflicts.problem(), null, 'other VIPs are not concerned');
    });
  }
});

describe('a member claims a VIP that is held here', () => {
  it('makes this host hold nothing for ten seconds', async () => {
    const { clock, conflicts, told } = stage('defend');
    conflicts.heard({ address, mac: member });

    assert.equal(conflicts.problem(), `n2 (${member}) claims ${address} as well`);
    assert.deepEqual(told, ['changed'], 'at once');
    clock.advance(10_000);
    await turn();
    assert.equal(conflicts.problem(), null);
    assert.deepEqual(told, ['changed', 'probe', 'changed']);
  });

  it('may be an old answer while this host asks, or while another one holds', () => {
    const { conflicts, state } = stage('defend');
    state.asking = true;
    conflicts.heard({ address, mac: member });
    state.asking = false;
    state.holding = false;
    conflicts.heard({ address, mac: member });

    assert.equal(conflicts.problem(), null);
  });
});

it('what this host has sent itself, brought back by a bridge, is no claim', () => {
  const { conflicts, told } = stage('yield');
  conflicts.heard({ address, mac: own });

  assert.deepEqual(told, []);
});

it('nothing is done after stop()', () => {
  const { clock, conflicts, told } = stage('yield');
  conflicts.heard({ address, mac: stranger });
  conflicts.stop();
  clock.advance(20_000);
  conflicts.heard({ address, mac: member });

  assert.deepEqual(told, ['changed']);
});
