/** What a receiver keeps of snapshots that broke off: one beginning, for a while. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Clock } from '../../../src/base/clock.ts';
import type { InstallSnapshot } from '../../../src/raft/message.ts';
import { emptyConfig } from '../../../src/raft/types.ts';
import { snapshotChunkBytes } from '../../../src/rpc/limits.ts';
import { snapshotChunks } from '../../../src/rpc/snapshot-codec.ts';
import { SnapshotInbox } from '../../../src/rpc/snapshot-inbox.ts';

/** Its timers fire when the test says so. */
class HandClock implements Clock {
  readonly #due = new Set<() => void>();

  now(): number {
    return 0;
  }

  wallNow(): number {
    return 0;
  }

  after(_delayMs: number, callback: () => void) {
    this.#due.add(callback);
    return { cancel: () => void this.#due.delete(callback) };
  }

  fire(): void {
    for (const callback of [...this.#due]) callback();
  }
}

const route = { from: 'a', to: 'b' };
const never = (): void => assert.fail('abandoned');

function parts(): readonly Uint8Array[] {
  const data = new Uint8Array(3 * snapshotChunkBytes).fill(7);
  const meta = { index: 5, term: 1, config: { ...emptyConfig, voters: ['a', 'b'] } };
  const message: InstallSnapshot = {
    ...{ type: 'snapshot', ...route, term: 1 },
    snapshot: { meta, data },
  };
  return [...snapshotChunks(message, createHash('sha256').update(data).digest())];
}

function started(inbox: SnapshotInbox, from = 'a', abandon: () => void = never) {
  return inbox.begin({ ...route, from }, abandon);
}

test('what a call that broke off had brought is offered to one later call', () => {
  const inbox = new SnapshotInbox(new HandClock());
  const broken = started(inbox);
  for (const part of parts().slice(0, 2)) broken.add(part);
  inbox.ended('a', broken, false);

  const next = started(inbox, 'c');
  assert.equal(next.unfinished?.received, 2 * snapshotChunkBytes);
  assert.equal(started(inbox).unfinished, null);
  // It sent nothing: what it was offered is as good as before.
  inbox.ended('c', next, false);
  assert.equal(started(inbox, 'd').unfinished?.received, 2 * snapshotChunkBytes);
});

test('a call of the same peer ends its older one and goes on with what that brought', () => {
  const inbox = new SnapshotInbox(new HandClock());
  let abandoned = 0;
  const dead = started(inbox, 'a', () => {
    abandoned += 1;
  });
  dead.add(parts()[0] ?? new Uint8Array(0));

  const next = started(inbox);
  assert.equal(abandoned, 1);
  assert.equal(next.unfinished?.received, snapshotChunkBytes);
  // The older call reports its end only now, and takes nothing away.
  inbox.ended('a', dead, false);
  assert.equal(next.unfinished?.received, snapshotChunkBytes);
});

test('nothing is kept of what arrived, of what was refused, or for long', () => {
  const clock = new HandClock();
  const inbox = new SnapshotInbox(clock);
  const whole = started(inbox);
  for (const part of parts()) whole.add(part);
  inbox.ended('a', whole, true);
  const broken = started(inbox);
  assert.equal(broken.unfinished, null);

  broken.add(parts()[0] ?? new Uint8Array(0));
  inbox.ended('a', broken, false);
  clock.fire();
  assert.equal(started(inbox).unfinished, null);
});
