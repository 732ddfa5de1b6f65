/** Tables of verdicts: a story of results goes in, the verdict after each comes out. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  afterConnect,
  afterConnectFailure,
  afterProbe,
  afterSilence,
  type Health,
  type ProbeResult,
  standings,
  UNKNOWN,
} from '../../../src/lb/health.ts';

const OK: ProbeResult = { acceptsTcp: true, healthy: true, reason: '200 OK' };
const SICK: ProbeResult = {
  acceptsTcp: true,
  healthy: false,
  reason: '500 Internal Server Error',
};
const DEAD: ProbeResult = { acceptsTcp: false, healthy: false, reason: 'connect refused' };
const LATE: ProbeResult = {
  acceptsTcp: true,
  healthy: false,
  reason: 'connected, but no answer',
  late: { came: new Promise(() => undefined), giveUp: () => undefined },
};
const RESULTS = { '+': OK, s: SICK, d: DEAD, l: LATE };
const VERDICTS = { unknown: '?', up: 'U', down: 'D' };

/** `story('+ss', 2, 2)`: the verdict after each result, as letters. */
function story(results: string, rise: number, fall: number): string {
  let health = UNKNOWN;
  let verdicts = '';
  for (const letter of results) {
    health = afterProbe(health, RESULTS[letter as keyof typeof RESULTS], { rise, fall });
    verdicts += VERDICTS[health.verdict];
  }
  return verdicts;
}

function after(results: string, rise = 2, fall = 2): Health {
  let health = UNKNOWN;
  for (const letter of results) {
    health = afterProbe(health, RESULTS[letter as keyof typeof RESULTS], { rise, fall });
  }
  return health;
}

function states(...healths: readonly Health[]): string[] {
  return standings(healths.map((health) => ({ draining: false, health }))).map(
    ({ state }) => state,
  );
}

suite('afterProbe()', () => {
  const table = [
    { results: '+', rise: 5, fall: 5, verdicts: 'U', why: 'the first success counts at once' },
    { results: 'd', rise: 5, fall: 5, verdicts: 'D', why: 'the first failure counts at once' },
    { results: '+ss+', rise: 2, fall: 2, verdicts: 'UUDD', why: 'fall and rise take two each' },
    { results: '+s+s+s', rise: 2, fall: 2, verdicts: 'UUUUUU', why: 'only results in a row count' },
    { results: 's+s++', rise: 2, fall: 2, verdicts: 'DDDDU', why: 'a failure starts rise anew' },
    { results: '+d+', rise: 1, fall: 1, verdicts: 'UDU', why: 'with 1 each result counts' },
    { results: '+sds', rise: 2, fall: 4, verdicts: 'UUUU', why: 'all kinds of failure add up' },
    { results: '+sdss', rise: 2, fall: 4, verdicts: 'UUUUD', why: 'and the fourth is too many' },
  ];
  for (const { results, rise, fall, verdicts, why } of table) {
    test(`turns ${results} into ${verdicts}: ${why}`, () => {
      assert.equal(story(results, rise, fall), verdicts);
    });
  }

  test('says how far a turn is', () => {
    assert.equal(after('+').reason, '200 OK');
    assert.equal(after('+s').reason, '500 Internal Server Error (1 of 2 before it counts as down)');
    assert.equal(after('ss+').reason, '200 OK (1 of 2 before it counts as up)');
  });

  test('returns the same object when nothing changed', () => {
    const health = after('+');

    assert.equal(afterProbe(health, OK, { rise: 2, fall: 2 }), health);
  });
});

suite('gone', () => {
  const cases = [
    { results: 'd', gone: false, why: 'one connection that failed is no proof' },
    { results: 'dd', gone: true, why: 'as many as make it down are' },
    { results: 'sssssd', gone: false, why: 'answers that are bad are answers' },
    { results: '+dsd', gone: false, why: 'only misses in a row count' },
    { results: 'ddl', gone: true, why: 'a connection without an answer brings nothing back' },
    { results: 'dds', gone: false, why: 'whoever answers is there' },
    { results: 'llllll', gone: false, why: 'slowness is no reason to lose connections' },
  ];
  for (const { results, gone, why } of cases) {
    test(`${results} ${gone ? 'is' : 'is not'}: ${why}`, () => {
      assert.equal(after(results).gone, gone);
    });
  }

  test('comes from half a minute of silence, too', () => {
    assert.equal(afterSilence(after('+l')).gone, true);
  });

  test('is nobody who is not probed', () => {
    let health = after('+');
    for (let i = 0; i < 10; i++) {
      const failure = { kind: 'refused', reason: 'connect refused' } as const;
      health = afterConnectFailure(health, failure, { rise: 1, fall: Number.POSITIVE_INFINITY });
    }
    assert.equal(health.gone, false);
  });
});

suite('afterConnectFailure()', () => {
  const limits = { rise: 2, fall: 2 };

  test('counts a refusal like a failed probe', () => {
    const failure = { kind: 'refused', reason: 'connect refused' } as const;
    const once = afterConnectFailure(after('+'), failure, limits);
    const twice = afterConnectFailure(once, failure, limits);

    assert.equal(once.verdict, 'up');
    assert.equal(twice.verdict, 'down');
    assert.equal(twice.acceptsTcp, false);
  });

  test('never takes a backend out for silence, which a lossy network explains', () => {
    let health = after('+');
    for (let i = 0; i < 100; i++) {
      health = afterConnectFailure(health, { kind: 'timeout', reason: 'timed out' }, limits);
    }

    assert.deepEqual(health, { ...after('+'), suspect: true });
    assert.deepEqual(afterConnect(health), after('+'));
  });

  test('blames nobody for a failure of this host', () => {
    const health = after('+');

    assert.equal(afterConnectFailure(health, { kind: 'local', reason: 'EMFILE' }, limits), health);
  });
});

suite('standings()', () => {
  test('lets only those serve that are up, while one is', () => {
    assert.deepEqual(states(after('+'), after('s'), after('d'), UNKNOWN), [
      'up',
      'down',
      'down',
      'down',
    ]);
  });

  test('keeps those that accept TCP serving as degraded when no probe succeeds', () => {
    assert.deepEqual(states(after('s'), after('ss'), after('d'), UNKNOWN), [
      'degraded',
      'degraded',
      'down',
      'down',
    ]);
  });

  test('gives nothing to a draining backend, not even when all others are gone', () => {
    const [draining, dead] = standings([
      { draining: true, health: after('+') },
      { draining: false, health: after('d') },
    ]);

    assert.equal(draining?.state, 'draining');
    assert.equal(draining?.usable, false);
    assert.equal(dead?.usable, false);
  });

  test('does not count a draining backend as one that is up', () => {
    const [, sick] = standings([
      { draining: true, health: after('+') },
      { draining: false, health: after('s') },
    ]);

    assert.equal(sick?.state, 'degraded');
  });

  test('prefers those whose last connection worked', () => {
    const suspect = { ...after('+'), suspect: true };
    const [first, second] = standings([
      { draining: false, health: suspect },
      { draining: false, health: after('+') },
    ]);

    assert.deepEqual([first?.usable, first?.preferred], [true, false]);
    assert.deepEqual([second?.usable, second?.preferred], [true, true]);
  });
});
