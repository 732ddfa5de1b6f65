/**
 * Load on a member from a host of the lab, never on anything else: TLS handshakes at a fixed rate
 * on the peers' port, a scan of plain connections, and bulk transfers through the VIP.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { monotonicMs } from './clock.ts';
import { serveStation, stationConfig } from './station-child.ts';

export interface StressConfig {
  readonly targets: readonly string[];
  readonly port: number;
  readonly handshakesPerSecond: number;
  readonly scansPerSecond: number;
  readonly vip: string;
  readonly vipPort: number;
  /** Connections that push bytes through the VIP as fast as they go. */
  readonly bulkConnections: number;
}

export interface StressCounts {
  readonly handshakes: number;
  readonly answeredHandshakes: number;
  readonly scans: number;
  readonly bulkBytes: number;
}

/** Beyond this many open attempts the target is saturated, and more would only cost us memory. */
const maxOpen = 1_000;
const paceMs = 10;

const config = stationConfig<StressConfig>();
const counts = { handshakes: 0, answeredHandshakes: 0, scans: 0, bulkBytes: 0 };
let open = 0;
let stopped = false;

function track(socket: Socket): void {
  open += 1;
  socket.on('error', () => undefined);
  socket.on('close', () => {
    open -= 1;
  });
}

function target(count: number): { readonly host: string; readonly port: number } {
  return { host: config.targets[count % config.targets.length] ?? '', port: config.port };
}

/**
 * The first flight of a real TLS client, recorded once and sent again and again: the server does
 * all the work of a handshake, we do next to none.
 */
function recordClientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = createServer((socket) => {
      socket.once('data', (hello) => {
        socket.destroy();
        server.close();
        resolve(hello);
      });
    });
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      tlsConnect({ host: '127.0.0.1', port, ALPNProtocols: ['h2'] }).on('error', () => undefined);
    });
  });
}

function handshake(): void {
  counts.handshakes += 1;
  const socket = connect(target(counts.handshakes));
  track(socket);
  socket.on('connect', () => socket.write(clientHello));
  socket.once('data', () => {
    counts.answeredHandshakes += 1;
    socket.resetAndDestroy();
  });
  socket.setTimeout(2_000, () => socket.destroy());
}

function scan(): void {
  counts.scans += 1;
  const socket = connect(target(counts.scans));
  track(socket);
  socket.on('connect', () => socket.destroy());
  socket.setTimeout(2_000, () => socket.destroy());
}

function bulk(): void {
  const chunk = Buffer.alloc(64 * 1_024);
  const socket = connect({ host: config.vip, port: config.vipPort });
  socket.on('connect', () => {
    socket.write('sum\n');
    const push = (): void => {
      while (!stopped && socket.writable) {
        counts.bulkBytes += chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    socket.on('drain', push);
    push();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    if (!stopped) setTimeout(bulk, 100);
  });
}

/** Keeps a rate: as many as are due, on each tick. */
function pace(perSecond: number, act: () => void): void {
  const began = monotonicMs();
  let done = 0;
  const timer = setInterval(() => {
    if (stopped) clearInterval(timer);
    const due = Math.floor(((monotonicMs() - began) / 1_000) * perSecond);
    while (!stopped && done < due) {
      done += 1;
      if (open < maxOpen) act();
    }
  }, paceMs);
}

const clientHello = await recordClientHello();
pace(config.handshakesPerSecond, handshake);
pace(config.scansPerSecond, scan);
for (let i = 0; i < config.bulkConnections; i++) bulk();

serveStation({
  counts: (): StressCounts => counts,
  halt: () => {
    stopped = true;
    return null;
  },
});
