/**
 * Two sockets joined into one connection, moved by events. What one side says reaches the other,
 * and nothing else: an end becomes an end (half-close, both ways), a reset becomes a reset, silence
 * stays silence, and a slow reader slows its writer down, because nothing is read while what was
 * read before still waits.
 */
import type { Ducts } from './ducts.ts';
import { type Duct, type Fd, type Result, type StreamSockets, WOULD_BLOCK } from './sockets.ts';

/** One direction's end: a socket, and what still has to be written to it. */
export interface Side {
  readonly fd: Fd;
  /** Read from the other side and not yet taken by this socket. */
  waiting: Uint8Array | null;
  /** The same, in the kernel's memory. Never both. */
  duct: Duct | null;
  /** This socket's peer last said as much as there was room for. */
  isBulky: boolean;
  /** This socket's peer has said its last. */
  readEnded: boolean;
  /** This socket was told that nothing more comes. */
  writeEnded: boolean;
}

export function newSide(fd: Fd): Side {
  return {
    ...{ fd, waiting: null, duct: null, isBulky: false },
    ...{ readEnded: false, writeEnded: false },
  };
}

/** What all connections share. */
export interface Means {
  readonly sockets: StreamSockets;
  /** Scratch space. */
  readonly buffer: Uint8Array;
  readonly ducts: Ducts;
}

export function isWaiting({ waiting, duct }: Side): boolean {
  return waiting !== null || duct !== null;
}

/** What a step has made of the connection. */
export type Progress =
  /** It goes on with the next event. */
  | 'open'
  /** It goes on at once: there is more, but others have their turn first. */
  | 'more'
  /** Both sides have said all: close them. */
  | 'over'
  /** One side failed: reset the other. */
  | 'failed';

/** Bytes that one connection may move before others have their turn. */
const TURN_BYTES = 1024 * 1024;

/**
 * Moves what `from` has to say to `to`.
 *
 * @param toTheEnd whether an end may already lie behind the data: events tell of each change once,
 *   so that data and end that came together have to be read together.
 */
export function pump(means: Means, from: Side, to: Side, toTheEnd: boolean): Progress {
  let moved = 0;
  while (!isWaiting(to) && !from.readEnded) {
    if (moved >= TURN_BYTES) return 'more';
    const duct = from.isBulky ? means.ducts.take() : null;
    const count = duct === null ? copy(means, from, to) : lead(means, duct, from, to);
    if (count === WOULD_BLOCK) return 'open';
    if (count < 0) return 'failed';
    if (count === 0) {
      from.readEnded = true;
      return endOf(means.sockets, from, to);
    }
    moved += count;
    from.isBulky = count >= means.buffer.length;
    // Less than there was room for: whatever comes later makes an event of its own. A duct is full
    // sooner, of many small pieces.
    if (duct === null && !from.isBulky && !toTheEnd) return 'open';
  }
  return 'open';
}

/** Answers what was read: 0 at the end, or the error of either side. */
function copy({ sockets, buffer }: Means, from: Side, to: Side): Result {
  const count = sockets.receive(from.fd, buffer);
  if (count <= 0) return count;
  const sent = sockets.send(to.fd, buffer, count);
  if (sent < 0 && sent !== WOULD_BLOCK) return sent;
  if (sent < count) to.waiting = buffer.slice(Math.max(0, sent), count);
  return count;
}

/** As {@link copy}, without a copy. */
function lead({ ducts }: Means, duct: Duct, from: Side, to: Side): Result {
  const count = duct.fill(from.fd);
  const sent = count > 0 ? duct.drain(to.fd) : 0;
  const isOver = sent < 0 && sent !== WOULD_BLOCK;
  if (duct.held > 0 && !isOver) to.duct = duct;
  else ducts.giveBack(duct);
  return isOver ? sent : count;
}

/** Writes what waits for `to`, then goes on reading `from`. */
export function flush(means: Means, from: Side, to: Side): Progress {
  if (!isWaiting(to)) return 'open';
  const sent = write(means, to);
  if (sent < 0 && sent !== WOULD_BLOCK) return 'failed';
  if (isWaiting(to)) return 'open';
  return from.readEnded ? endOf(means.sockets, from, to) : pump(means, from, to, true);
}

function write({ sockets, ducts }: Means, to: Side): Result {
  if (to.duct !== null) {
    const sent = to.duct.drain(to.fd);
    if (to.duct.held === 0) release(ducts, to);
    return sent;
  }
  const { waiting } = to;
  if (waiting === null) return 0;
  const sent = sockets.send(to.fd, waiting, waiting.length);
  if (sent > 0) to.waiting = sent < waiting.length ? waiting.subarray(sent) : null;
  return sent;
}

/** Gives up what waits for this side in the kernel's memory. */
export function release(ducts: Ducts, side: Side): void {
  if (side.duct !== null) ducts.giveBack(side.duct);
  side.duct = null;
}

/** `from` has said its last and `to` has taken all of it. */
function endOf(sockets: StreamSockets, from: Side, to: Side): Progress {
  if (!to.writeEnded) {
    to.writeEnded = true;
    // Where this was the second end, closing says the same.
    if (!to.readEnded || isWaiting(from)) sockets.endWriting(to.fd);
  }
  const isOver = from.readEnded && to.readEnded && !isWaiting(from) && !isWaiting(to);
  return isOver ? 'over' : 'open';
}
