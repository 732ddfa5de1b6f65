/**
 * Two sockets joined into one connection. What one side says reaches the other, and nothing else:
 * an end becomes an end (half-close, both ways), a reset becomes a reset, silence stays silence,
 * and a slow reader slows its writer down.
 */
import type { Socket } from 'node:net';

/**
 * Joins `client` and `upstream`, both connected. `onDone` is called once, when both are closed.
 */
export function splice(client: Socket, upstream: Socket, onDone: () => void): void {
  let open = 2;
  const watch = (socket: Socket, other: Socket): void => {
    socket.on('close', () => {
      // A side that went in peace has read and said all: what is still on its way to the other
      // side is left to arrive.
      if (!(socket.readableEnded && socket.writableFinished)) reset(other);
      open--;
      if (open === 0) onDone();
    });
  };
  watch(client, upstream);
  watch(upstream, client);
  client.pipe(upstream);
  upstream.pipe(client);
}

/** Ends a socket at once; its peer sees a reset ("connection reset by peer"). */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  // Node would wait for a connection under way before it resets it.
  if (socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}
