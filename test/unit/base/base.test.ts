// The leaves: seeded numbers, backoff, errors' one line, and the readable log.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InvariantViolation, assert as invariant } from '../../../src/base/assert.ts';
import { backoff } from '../../../src/base/backoff.ts';
import { describeError, errorCode, OperatingError } from '../../../src/base/errors.ts';
import { createLogger } from '../../../src/base/log.ts';
import { intBetween, prng } from '../../../src/base/prng.ts';

describe('prng()', () => {
  it('repeats itself for a seed and differs between seeds', () => {
    const draw = (seed: number) => Array.from({ length: 5 }, prng(seed));

    assert.deepEqual(draw(7), draw(7));
    assert.notDeepEqual(draw(7), draw(8));
    assert.notDeepEqual(draw(1), draw(1 + 2 ** 32));
  });

  it('is uniform enough for timers: each tenth of [0, 1) gets 9 to 11 % of 100,000 draws', () => {
    const random = prng(3);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 100_000; i++) {
      const bucket = Math.floor(random() * 10);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
    }

    for (const count of counts) assert.ok(count > 9_000 && count < 11_000, String(counts));
  });

  it('intBetween() reaches both ends and nothing else', () => {
    const random = prng(5);
    const seen = new Set(Array.from({ length: 500 }, () => intBetween(random, 2, 4)));

    assert.deepEqual([...seen].sort(), [2, 3, 4]);
  });
});

describe('backoff()', () => {
  it('grows to its maximum and never beyond, shortened by at most a quarter', () => {
    const delays = backoff({ firstMs: 50, maxMs: 500, factor: 2 }, prng(1));
    const got = Array.from({ length: 8 }, () => delays.next().value);

    const full = [50, 100, 200, 400, 500, 500, 500, 500];
    for (const [i, delay] of got.entries()) {
      assert.ok(delay <= (full[i] ?? 0) && delay >= (full[i] ?? 0) * 0.75, `${i}: ${delay}`);
    }
  });
});

describe('errors', () => {
  it('say what happened, why and what to do next in one line', () => {
    const error = new OperatingError({
      code: 'port-in-use',
      message: 'cannot listen on 0.0.0.0:7443: the port is in use',
      hint: 'see who has it with `ss -ltnp`',
    });

    assert.equal(
      describeError(error),
      'cannot listen on 0.0.0.0:7443: the port is in use; see who has it with `ss -ltnp`',
    );
    assert.equal(errorCode(error), 'port-in-use');
    assert.equal(errorCode('text'), undefined);
  });

  it('a broken invariant is not an operating error', () => {
    assert.throws(() => invariant(false, 'match < next'), InvariantViolation);
  });
});

describe('createLogger()', () => {
  it('writes a readable line with its fields, quoting what has spaces', () => {
    const lines: string[] = [];
    const log = createLogger({ level: 'info', format: 'text', write: (line) => lines.push(line) });
    log.child({ node: 'n1' }).info('vip.claimed', { vip: '10.0.0.100', why: 'the lease is ours' });
    log.debug('never.seen');

    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      /^\d{4}-\S+Z INFO {2}vip\.claimed node=n1 vip=10\.0\.0\.100 why="the lease is ours"\n$/,
    );
  });

  it('writes one JSON object a line for machines', () => {
    const lines: string[] = [];
    const log = createLogger({ level: 'info', format: 'json', write: (line) => lines.push(line) });
    log.warn('quorum.lost', { term: 3 });

    const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
    assert.equal(line.event, 'quorum.lost');
    assert.equal(line.level, 'warn');
    assert.equal(line.term, 3);
  });
});
