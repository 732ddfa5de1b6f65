/**
 * The traffic client's program: a new connection every few milliseconds, each on its own and given
 * up after a second, and some long-lived ones that are opened again when they break.
 */
import { connect, type Socket } from 'node:net';
import { monotonicMs } from './clock.ts';
import { serveStation, stationConfig, takePrecedence } from './station-child.ts';

export interface TrafficConfig {
  readonly address: string;
  readonly port: number;
  /** Between the beginnings of two attempts; 0 for no attempts at all. */
  readonly everyMs: number;
  readonly giveUpMs: number;
  /** Long-lived connections to keep. */
  readonly streams: number;
}

export interface Success {
  readonly started: number;
  readonly at: number;
  readonly server: string;
}

export interface Failure {
  readonly started: number;
  readonly at: number;
  /** `ECONNREFUSED`, `ECONNRESET`, `EHOSTUNREACH`, … or `timeout`, or `empty`: no answer came. */
  readonly reason: string;
}

export interface StreamEnd {
  readonly at: number;
  /** Who had served it. */
  readonly server: string;
  /** `end` for an orderly end, else the error's code. */
  readonly reason: string;
  /** How long nothing had come before. */
  readonly silentMs: number;
}

export interface TrafficReport {
  readonly since: number;
  readonly until: number;
  readonly successes: readonly Success[];
  readonly failures: readonly Failure[];
  readonly streamEnds: readonly StreamEnd[];
  readonly openStreams: number;
  /** Who serves each of them. */
  readonly streamServers: readonly string[];
}

/** As clients of Kubernetes do (Go: after 15 s), only sooner, because a test waits for it. */
const keepAliveAfterMs = 1_000;
/** A stream that cannot be opened is tried again after this. */
const streamRetryMs = 200;

const config = stationConfig<TrafficConfig>();
const successes: Success[] = [];
const failures: Failure[] = [];
const streamEnds: StreamEnd[] = [];
const openStreams = new Map<Socket, string>();
let since = monotonicMs();
let nextAt = since;

function attempt(): void {
  const started = monotonicMs();
  const socket = connect({ host: config.address, port: config.port, noDelay: true });
  let answer = '';
  let reason = 'empty';
  const timer = setTimeout(() => {
    reason = 'timeout';
    socket.destroy();
  }, config.giveUpMs);
  socket.on('connect', () => socket.write('whoami\n'));
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
    if (!answer.endsWith('\n')) return;
    successes.push({ started, at: monotonicMs(), server: answer.trim() });
    reason = '';
    clearTimeout(timer);
    socket.end();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (reason === 'empty') reason = error.code ?? error.message;
  });
  socket.on('close', () => {
    clearTimeout(timer);
    if (reason !== '') failures.push({ started, at: monotonicMs(), reason });
  });
}

/** Keeps the schedule: an attempt that comes late does not delay those after it. */
function schedule(): void {
  if (config.everyMs === 0) return;
  const now = monotonicMs();
  while (nextAt <= now) {
    attempt();
    nextAt += config.everyMs;
  }
  setTimeout(schedule, Math.max(1, nextAt - monotonicMs()));
}

function keepStream(): void {
  const socket = connect({ host: config.address, port: config.port, noDelay: true });
  socket.setKeepAlive(true, keepAliveAfterMs);
  let lastData = monotonicMs();
  let reason = 'end';
  let server = '';
  socket.on('connect', () => socket.write('stream\n'));
  socket.on('data', (chunk) => {
    server ||= chunk.toString('latin1').split(' ')[0] ?? '';
    lastData = monotonicMs();
    openStreams.set(socket, server);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    reason = error.code ?? error.message;
  });
  socket.on('close', () => {
    openStreams.delete(socket);
    const at = monotonicMs();
    if (server !== '') streamEnds.push({ at, server, reason, silentMs: at - lastData });
    setTimeout(keepStream, streamRetryMs);
  });
}

takePrecedence();
schedule();
for (let i = 0; i < config.streams; i++) keepStream();

serveStation({
  report: (): TrafficReport => ({
    since,
    until: monotonicMs(),
    successes,
    failures,
    streamEnds,
    openStreams: openStreams.size,
    streamServers: [...openStreams.values()],
  }),
  forget: () => {
    for (const list of [successes, failures, streamEnds]) list.length = 0;
    since = monotonicMs();
    return null;
  },
});
