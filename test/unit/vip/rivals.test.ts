// A stranger on the wire keeps a VIP from being claimed; a member's stale answer does not.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Millis } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log.ts';
import { Rivals } from '../../../src/vip/rivals.ts';

const vip = { address: '10.0.0.100', interface: 'eth0' };
const stranger = '02:aa:00:00:00:01';
const member = '02:00:00:00:00:02';

function stage(holds = false) {
  let answers: readonly string[] = [];
  let again: (() => void) | null = null;
  const waits: Millis[] = [];
  const state = { holds };
  let changes = 0;
  const rivals = new Rivals({
    clock: {
      now: () => 0,
      wallNow: () => 0,
      after: (_delay, callback) => {
        again = callback;
        return { cancel: () => undefined };
      },
    },
    link: {
      send: () => ({ ok: true }),
      probe: async (_vip, waitMs) => {
        waits.push(waitMs);
        return answers;
      },
    },
    log: silentLogger,
    known: () => new Set([member]),
    holds: () => state.holds,
    term: () => 3,
    onChange: () => {
      changes++;
    },
  });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) await turn();
  };
  return {
    rivals,
    state,
    waits,
    settle,
    changes: () => changes,
    answer: (...macs: string[]) => {
      answers = macs;
    },
    again: async () => {
      const callback = again;
      again = null;
      callback?.();
      await settle();
      return callback !== null;
    },
  };
}

describe('Rivals', () => {
  it('finds nobody on a quiet link, and does not ask again', async () => {
    const { rivals, settle, again } = stage();
    void rivals.look([vip]);
    await settle();

    assert.equal(rivals.problem(), null);
    assert.equal(await again(), false);
  });

  it('takes a member that still answers for a stale cache', async () => {
    const { rivals, settle, answer } = stage();
    answer(member);
    void rivals.look([vip]);
    await settle();

    assert.equal(rivals.problem(), null);
    assert.deepEqual(rivals.alarms(), []);
  });

  it('names a stranger, keeps asking, and lets go when it is silent', async () => {
    const { rivals, settle, answer, again, changes } = stage();
    answer(member, stranger);
    void rivals.look([vip]);
    await settle();
    assert.equal(rivals.problem(), `a stranger, ${stranger}, answers for 10.0.0.100`);
    assert.equal(changes(), 1);

    answer();
    assert.equal(await again(), true);
    assert.equal(rivals.problem(), null);
    assert.equal(changes(), 2);
    assert.equal(await again(), false);
  });

  it('only raises the alarm where the VIP is held already', async () => {
    const { rivals, settle, answer } = stage(true);
    answer(stranger);
    void rivals.look([vip]);
    await settle();

    assert.equal(rivals.problem(), null);
    assert.match(rivals.alarms()[0] ?? '', /10\.0\.0\.100 is also answered for by 02:aa/);
  });

  it('keeps the VIP from coming back while the stranger is there', async () => {
    const { rivals, state, settle, answer, again } = stage(true);
    answer(stranger);
    void rivals.look([vip]);
    await settle();
    state.holds = false;
    await again();

    assert.equal(rivals.problem(), `a stranger, ${stranger}, answers for 10.0.0.100`);
    assert.equal(rivals.conflicts(), 1, 'it is still the same one');
  });
});
