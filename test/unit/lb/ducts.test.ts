/** Ducts are lent, come back, and are closed when nobody could use them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ducts } from '../../../src/lb/ducts.ts';
import type { Duct } from '../../../src/lb/sockets.ts';

class FakeDuct implements Duct {
  held = 0;
  closed = false;
  fill(): number {
    return 0;
  }
  drain(): number {
    return 0;
  }
  close(): void {
    this.closed = true;
  }
}

function world(limit = Number.POSITIVE_INFINITY) {
  const made: FakeDuct[] = [];
  const ducts = new Ducts(() => {
    if (made.length >= limit) return null;
    const duct = new FakeDuct();
    made.push(duct);
    return duct;
  });
  return { ducts, made };
}

function taken(ducts: Ducts): Duct[] {
  const all: Duct[] = [];
  for (let duct = ducts.take(); duct !== null; duct = ducts.take()) all.push(duct);
  return all;
}

test('one after the other share one duct', () => {
  const { ducts, made } = world();
  for (let i = 0; i < 10; i++) {
    const duct = ducts.take();
    assert.ok(duct !== null);
    ducts.giveBack(duct);
  }
  assert.equal(made.length, 1);
});

test('there is an end to how many are lent, and few are kept', () => {
  const { ducts, made } = world();
  const all = taken(ducts);
  assert.equal(all.length, 32);
  for (const duct of all) ducts.giveBack(duct);
  assert.equal(made.filter(({ closed }) => !closed).length, 4);
  assert.equal(taken(ducts).length, 32, 'and as many again');
});

test('what comes back with something inside is for nobody else', () => {
  const { ducts, made } = world();
  const duct = ducts.take();
  assert.ok(duct instanceof FakeDuct);
  duct.held = 1;
  ducts.giveBack(duct);
  assert.equal(duct.closed, true);
  assert.notEqual(ducts.take(), duct);
  assert.equal(made.length, 2);
});

test('a host without room for one is no failure', () => {
  const { ducts } = world(2);
  const [first] = taken(ducts);
  assert.ok(first !== undefined);
  assert.equal(ducts.take(), null);
  ducts.giveBack(first);
  assert.equal(ducts.take(), first);
});
