/**
 * The program of a worker process: a balancer at the other end of an IPC channel. The agent is a
 * real-time process that must never wait for traffic, so traffic is carried here; and a worker may
 * die without moving the VIP. It lives exactly as long as its channel: an agent that is gone,
 * however it ended, takes its workers with it.
 */
import { randomInt } from 'node:crypto';
import { promises as files, readFileSync } from 'node:fs';
import { unreachable } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { prng } from '../base/prng.ts';
import { createDatagramDoors } from '../linux/datagram-sockets.ts';
import { takeNormalPriority } from '../linux/priority.ts';
import { endWithParent } from '../linux/process.ts';
import { createDoorSockets, tuneConnection } from '../linux/stream-sockets.ts';
import { Balancer } from './balancer.ts';
import { startCarrier } from './carrier-start.ts';
import {
  type FromWorker,
  type FrontendReport,
  type FrontendVerdicts,
  parseToWorker,
} from './protocol.ts';

/**
 * A connection costs two descriptors, and some hosts cap a process at 20,000. Above this the answer
 * is a reset at once.
 */
const MAX_CONNECTIONS = 7_500;
/** Clients of each UDP frontend: a descriptor each. */
const MAX_FLOWS = 2_000;
/** Clients of each HTTP frontend: two descriptors each. */
const MAX_HTTP_CLIENTS = 1_000;

function main(): void {
  const outbox = createOutbox();
  const log = channelLogger(outbox.send, {});
  // First of all: traffic must neither outlive the agent nor compete with it for the processor.
  endWithParent();
  const priority = takeNormalPriority();
  if (!priority.ok) log.warn('lb.priority-kept', { reason: priority.reason });
  const balancer = new Balancer({
    clock: systemClock(),
    random: prng(randomInt(2 ** 47)),
    log,
    readFile: (path) => files.readFile(path, 'utf8'),
    doors: createDoorSockets(),
    createDatagramDoors,
    maxFlows: MAX_FLOWS,
    maxHttpClients: MAX_HTTP_CLIENTS,
    readFileNow: (path) => readFileSync(path, 'utf8'),
    tune: tuneConnection,
    carrier: startCarrier({
      maxConnections: MAX_CONNECTIONS,
      // Nobody would be served any more: the agent starts another process.
      onEnd: (reason) => {
        log.warn('lb.carrier-ended', { reason });
        process.exit(1);
      },
    }),
    onReport: outbox.report,
    onVerdicts: outbox.tell,
    onFailure: outbox.send,
  });
  const leave = (): void => {
    balancer.close();
    // At once: an orphan that still flushes to a dead peer would keep the port from its successor.
    process.exit(0);
  };
  process.on('message', (raw) => {
    const message = parseToWorker(raw);
    if ('invalid' in message) {
      log.warn('lb.bad-message', { reason: message.invalid });
      return;
    }
    switch (message.kind) {
      case 'assign':
        return balancer.assign(message.assignments, message.leads);
      case 'verdicts':
        return balancer.learn(message.verdicts);
      case 'failed':
        return balancer.hear(message);
      case 'release':
        return balancer.release(message.address);
      case 'ping':
        return outbox.send({ kind: 'pong' });
      case 'drain':
        void balancer.drain(message.graceMs).then(leave);
        return;
      default:
        unreachable(message);
    }
  });
  process.on('disconnect', leave);
  // A stop of the whole group reaches this process too. The agent decides: it drains first.
  process.on('SIGTERM', () => undefined);
  process.on('SIGINT', () => undefined);
}

interface Outbox {
  /** Lost while {@link MAX_PENDING} messages wait for an agent that does not read. */
  send(message: FromWorker): void;
  /** Never lost: while one of these waits, the newest of each frontend is kept. */
  report(frontends: readonly FrontendReport[]): void;
  /** As {@link report}. */
  tell(verdicts: readonly FrontendVerdicts[]): void;
}

const MAX_PENDING = 256;

type Post = (message: FromWorker, onSent: () => void) => void;

function createOutbox(): Outbox {
  let pending = 0;
  const post: Post = (message, onSent) => {
    if (process.connected) process.send?.(message, undefined, undefined, onSent);
  };
  const send = (message: FromWorker): void => {
    if (pending >= MAX_PENDING) return;
    pending++;
    post(message, () => {
      pending--;
    });
  };
  return {
    send,
    report: newestOf(
      post,
      ({ name }) => name,
      (frontends) => ({ kind: 'report', frontends }),
    ),
    tell: newestOf(
      post,
      ({ frontend }) => frontend,
      (verdicts) => ({ kind: 'verdicts', verdicts }),
    ),
  };
}

/** One message at a time; meanwhile what is newest under each key waits for the next. */
function newestOf<T>(
  post: Post,
  keyOf: (item: T) => string,
  messageOf: (items: readonly T[]) => FromWorker,
): (items: readonly T[]) => void {
  const waiting = new Map<string, T>();
  let isUnderWay = false;
  const put = (items: readonly T[]): void => {
    for (const item of items) waiting.set(keyOf(item), item);
    if (isUnderWay || waiting.size === 0) return;
    isUnderWay = true;
    const message = messageOf([...waiting.values()]);
    waiting.clear();
    post(message, () => {
      isUnderWay = false;
      put([]);
    });
  };
  return put;
}

/** The agent's log is the only one: transitions travel there as messages. */
function channelLogger(
  send: (message: FromWorker) => void,
  inherited: Readonly<Record<string, unknown>>,
): Logger {
  const line =
    (level: 'info' | 'warn') =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void =>
      send({ kind: 'log', level, event, fields: { ...inherited, ...fields } });
  return {
    debug: () => undefined,
    info: line('info'),
    warn: line('warn'),
    error: line('warn'),
    child: (fields) => channelLogger(send, { ...inherited, ...fields }),
  };
}

main();
