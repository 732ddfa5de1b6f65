/** Connections that ask for a flood and do not read it until they are told to. */
import { connect, type Socket } from 'node:net';
import { serveStation, stationConfig } from './station-child.ts';

export interface SlowReaderConfig {
  readonly address: string;
  readonly port: number;
  readonly count: number;
}

const { address, port, count } = stationConfig<SlowReaderConfig>();

function ask(): Promise<Socket> {
  const socket = connect({ host: address, port });
  socket.pause();
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('connect', () => socket.write('flood\n', () => resolve(socket)));
  });
}

/** Resolves to what was read of all of them together, `bytes` at least. */
function read(bytes: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let sum = 0;
    for (const socket of sockets) {
      socket.on('data', (chunk) => {
        sum += chunk.length;
        if (sum >= bytes) resolve(sum);
      });
      socket.on('close', () => reject(new Error(`ended after ${sum} bytes`)));
      socket.resume();
    }
  });
}

const sockets = await Promise.all(Array.from({ length: count }, ask));
serveStation({ read: (bytes) => read(bytes as number) });
