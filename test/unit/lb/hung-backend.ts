/**
 * A thread that listens with the smallest backlog and never accepts, like the server of a stopped
 * process: the kernel completes a few handshakes, then leaves every SYN without an answer.
 */
import { createServer } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

const server = createServer();
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  const address = server.address();
  parentPort?.postMessage(typeof address === 'object' ? address?.port : null);
  // Nothing runs in this thread from here on; whoever made it ends it.
  Atomics.wait(new Int32Array(workerData as SharedArrayBuffer), 0, 0);
});
