/**
 * The observer's program. It runs in the switch, asks every 5 ms who has each VIP, knocks at each
 * host's MAC for it (an echo every 10 ms, a TCP segment every 20 ms), and writes down every claim
 * with its time and the port it came by. The faults of the lab stand between ports, never between
 * the observer and a port: a host that is cut off is still asked.
 */
import { apiServerPort } from './api-server.ts';
import { monotonicMs } from './clock.ts';
import { PacketTap } from './packet-tap.ts';
import { sendEvent, serveStation, stationConfig, takePrecedence } from './station-child.ts';
import { type Claim, claimOf, knock, knockTcp, question, type Station } from './wire.ts';

export interface ObserverConfig {
  readonly vips: readonly string[];
  readonly self: Station;
  /** The bridge itself, by which questions leave. */
  readonly bridgeIndex: number;
  readonly ports: readonly {
    readonly index: number;
    readonly host: string;
    readonly mac: string;
  }[];
}

export interface Record {
  readonly at: number;
  readonly host: string;
  readonly vip: string;
  readonly kind: Claim['kind'];
  readonly mac: string;
}

/** How often each VIP is asked for; the resolution of everything that the observer says. */
const questionEveryMs = 5;
const knockEveryQuestions = 2;
const knockTcpEveryQuestions = 4;
/**
 * A VIP for which so many questions found no answer is reported as unheld. Questions are counted
 * and not time, so that a pause of the observer itself is not taken for a silence of the holder.
 */
const unheldAfterQuestions = 8;

const config = stationConfig<ObserverConfig>();
const tap = new PacketTap();
const vips = new Set(config.vips);
const hostOfPort = new Map(config.ports.map(({ index, host }) => [index, host]));
const questions = config.vips.map((vip) => question(config.self, vip));
const segments = config.ports.flatMap(({ mac }) =>
  config.vips.map((vip) => knockTcp(config.self, mac, vip, apiServerPort)),
);
const records: Record[] = [];
const holder = new Map<string, { host: string | null; at: number; round: number }>();
let round = 0;
let nextQuestionAt = monotonicMs();

function ask(): void {
  round += 1;
  for (const frame of questions) tap.send(config.bridgeIndex, frame);
  if (round % knockEveryQuestions !== 0) return;
  for (const { mac } of config.ports) {
    for (const vip of config.vips) {
      tap.send(config.bridgeIndex, knock(config.self, mac, vip, round));
    }
  }
  if (round % knockTcpEveryQuestions === 0)
    for (const frame of segments) tap.send(config.bridgeIndex, frame);
}

function note(record: Record): void {
  records.push(record);
  const before = holder.get(record.vip);
  holder.set(record.vip, { host: record.host, at: record.at, round });
  if (before?.host !== record.host) sendEvent('holder', { ...record });
}

function noteSilence(): void {
  for (const [vip, { host, at, round: answered }] of holder) {
    if (host === null || round - answered < unheldAfterQuestions) continue;
    holder.set(vip, { host: null, at, round });
    sendEvent('holder', { vip, host: null, at });
  }
}

function readAll(): void {
  for (let frame = tap.receive(); frame !== null; frame = tap.receive()) {
    const host = hostOfPort.get(frame.interfaceIndex);
    if (host === undefined) continue;
    const claim = claimOf(frame.bytes, vips);
    if (claim !== null) note({ at: frame.at, host, ...claim });
  }
}

/** One turn; the event loop gets its own turn between two of them. */
function turn(): void {
  const now = monotonicMs();
  if (now >= nextQuestionAt) {
    ask();
    nextQuestionAt = Math.max(nextQuestionAt + questionEveryMs, now);
  }
  tap.wait(Math.max(1, nextQuestionAt - monotonicMs()));
  readAll();
  noteSilence();
  setImmediate(turn);
}

takePrecedence();
turn();
serveStation({
  records: () => records,
  forget: () => {
    records.length = 0;
    return null;
  },
});
