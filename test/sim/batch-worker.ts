/** A worker thread of the simulator: chunks of seeds in, their outcomes out. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Chunk, runChunk } from './batch.ts';

parentPort?.on('message', (chunk: Chunk) => {
  void runChunk(chunk, workerData === true).then((outcomes) => parentPort?.postMessage(outcomes));
});
