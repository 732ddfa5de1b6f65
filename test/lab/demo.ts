/**
 * `make demo`: three hosts form a cluster by the real CLI, a fourth sends traffic, the leader is
 * killed, and a table says what that cost. The exit status is 1 when a promise was broken.
 */
import { ApiServer, apiServerPort } from './api-server.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import { Cluster } from './cluster.ts';
import { unevenness } from './gaps.ts';
import { createLab, type Lab } from './lab.ts';
import { Observer, type WireReport } from './observer.ts';
import { duration, shareRows, table, tenureRows } from './story.ts';
import { clientGap, perServer, Traffic } from './traffic.ts';
import type { TrafficReport } from './traffic-child.ts';

/** Traffic before the leader dies and after somebody else took over. */
const quietMs = 4_000;
/** The promises of the README, which this program holds the product to. */
const promisedGapMs = 1_000;
const promisedUnevenness = 0.1;

interface Result {
  readonly killed: string;
  readonly killedAt: number;
  readonly heir: string;
  readonly wire: WireReport;
  readonly traffic: TrafficReport;
}

const began = monotonicMs();

function say(sentence: string): void {
  console.log(`${((monotonicMs() - began) / 1_000).toFixed(1).padStart(5)} s  ${sentence}`);
}

async function play(lab: Lab): Promise<Result> {
  const servers = await ApiServer.startAll(lab.hosts);
  say(`${servers.length} stand-in API servers listen on [::]:${apiServerPort}`);
  const observer = await Observer.start(lab);
  say('an observer on the wire writes down every ARP answer');
  await Cluster.form(lab, { onProgress: say });
  const killed = await observer.waitForHolder(lab.vip, 10_000);
  say(`three agents agree; ${killed} leads and holds ${lab.vip}`);

  const traffic = await Traffic.start(lab.client, { address: lab.vip, port: apiServerPort });
  await until(async () => (await traffic.report()).successes.length > 0, {
    timeoutMs: 10_000,
    what: `an answer through ${lab.vip}`,
  });
  await traffic.forget();
  say(`the client opens a connection to ${lab.vip}:${apiServerPort} every 5 ms`);
  await lasting(quietMs);

  const killedAt = monotonicMs();
  await lab.host(killed).killAgent();
  say(`SIGKILL to the agent of ${killed}, which leads: it cannot clean up after itself`);
  const heir = await observer.waitForHolder(lab.vip, 10_000, (host) => host !== killed);
  say(`${heir} answers for ${lab.vip}`);
  await lasting(quietMs);

  await lab.host(killed).startAgent();
  say(`${killed} is started again and follows`);
  await lasting(quietMs / 2);
  return {
    killed,
    killedAt,
    heir,
    traffic: await traffic.stop(),
    wire: await observer.report(lab.vip),
  };
}

function tell({ killed, killedAt, heir, wire, traffic }: Result, vip: string): boolean {
  const origin = wire.tenures[0]?.from ?? killedAt;
  const lastWord = wire.tenures.find(({ host }) => host === killed)?.to ?? killedAt;
  const killedSecond = ((killedAt - origin) / 1_000).toFixed(3);
  const muteAfter = Math.max(0, lastWord - killedAt);
  const gap = clientGap(traffic);
  const perBackend = perServer(traffic);
  const spread = unevenness([...perBackend.values()]);
  const missed = traffic.failures.length;
  console.log(`
Who held ${vip} (from what an observer saw on the wire)
${table([['host', 'from', 'to', 'seen'], ...tenureRows(wire.tenures, origin)])}

${killed} was killed at ${killedSecond} s and could do nothing any more. Its kernel went mute by
itself ${duration(muteAfter)} later, when the lease ran out; only then did ${heir} take over.

What the client saw (a new connection every 5 ms, each given up after 1 s)
${table([
  ['connections answered', `${traffic.successes.length}`],
  ['connections that failed', `${missed}`],
  ['longest time without an answer', duration(gap.lengthMs)],
])}

Which API server answered
${table([['backend', 'connections', 'share'], ...shareRows(perBackend)])}
`);
  const promises: readonly (readonly [boolean, string])[] = [
    [wire.overlaps.length === 0, `never two hosts at once: ${wire.overlaps.length} overlaps`],
    [gap.lengthMs <= promisedGapMs, `at most 1 s without an answer: ${duration(gap.lengthMs)}`],
    [
      perBackend.size === 3 && spread <= promisedUnevenness,
      `backends within 10 % of each other: ${(100 * spread).toFixed(1)} %`,
    ],
  ];
  for (const [kept, sentence] of promises)
    console.log(`${kept ? 'kept  ' : 'BROKEN'}  ${sentence}`);
  return promises.every(([kept]) => kept);
}

say('three hosts, a client and a switch, as network namespaces of this machine');
const lab = await createLab();
try {
  const result = await play(lab);
  process.exitCode = tell(result, lab.vip) ? 0 : 1;
} catch (error) {
  console.error(error);
  for (const host of lab.hosts) {
    if (host.agentRuns) console.error(`--- ${host.name}\n${host.agent.log().slice(-2_000)}`);
  }
  process.exitCode = 1;
} finally {
  await lab.close();
}
