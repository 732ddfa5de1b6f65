/**
 * Two sockets joined into one connection, moved by events. What one side says reaches the other,
 * and nothing else: an end becomes an end (half-close, both ways), a reset becomes a reset, silence
 * stays silence, and a slow reader slows its writer down, because nothing is read while what was
 * read before still waits.
 */
import { type Fd, type StreamSockets, WOULD_BLOCK } from './sockets.ts';

/** One direction's end: a socket, and what still has to be written to it. */
export interface Side {
  readonly fd: Fd;
  /** Read from the other side and not yet taken by this socket. */
  waiting: Uint8Array | null;
  /** This socket's peer has said its last. */
  readEnded: boolean;
  /** This socket was told that nothing more comes. */
  writeEnded: boolean;
}

export function newSide(fd: Fd): Side {
  return { fd, waiting: null, readEnded: false, writeEnded: false };
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
 * @param buffer scratch space that all connections share.
 * @param toTheEnd whether an end may already lie behind the data: events tell of each change once,
 *   so that data and end that came together have to be read together.
 */
export function pump(
  sockets: StreamSockets,
  from: Side,
  to: Side,
  buffer: Uint8Array,
  toTheEnd: boolean,
): Progress {
  let moved = 0;
  while (to.waiting === null && !from.readEnded) {
    if (moved >= TURN_BYTES) return 'more';
    const count = sockets.receive(from.fd, buffer);
    if (count === WOULD_BLOCK) return 'open';
    if (count < 0) return 'failed';
    if (count === 0) {
      from.readEnded = true;
      return endOf(sockets, from, to);
    }
    moved += count;
    const sent = sockets.send(to.fd, buffer, count);
    if (sent < 0 && sent !== WOULD_BLOCK) return 'failed';
    if (sent < count) to.waiting = buffer.slice(Math.max(0, sent), count);
    // Less than there was room for: whatever comes later makes an event of its own.
    if (count < buffer.length && !toTheEnd) return 'open';
  }
  return 'open';
}

/** Writes what waits for `to`, then goes on reading `from`. */
export function flush(sockets: StreamSockets, from: Side, to: Side, buffer: Uint8Array): Progress {
  if (to.waiting === null) return 'open';
  const sent = sockets.send(to.fd, to.waiting, to.waiting.length);
  if (sent === WOULD_BLOCK) return 'open';
  if (sent < 0) return 'failed';
  if (sent < to.waiting.length) {
    to.waiting = to.waiting.subarray(sent);
    return 'open';
  }
  to.waiting = null;
  return from.readEnded ? endOf(sockets, from, to) : pump(sockets, from, to, buffer, true);
}

/** `from` has said its last and `to` has taken all of it. */
function endOf(sockets: StreamSockets, from: Side, to: Side): Progress {
  if (!to.writeEnded) {
    to.writeEnded = true;
    // Where this was the second end, closing says the same.
    if (!to.readEnded || from.waiting !== null) sockets.endWriting(to.fd);
  }
  const isOver = from.readEnded && to.readEnded && from.waiting === null && to.waiting === null;
  return isOver ? 'over' : 'open';
}
