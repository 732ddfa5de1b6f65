/**
 * The daemon: the one place where real parts are plugged together. It starts them from leaf to root
 * and stops them from root to leaf; what each part does is said in its own room.
 */
import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { localPeer, readersGid, refuseWithoutRights, standing } from './agent/access.ts';
import {
  type FactSources,
  fenceAlarms,
  httpFacts,
  livez,
  localFacts,
  readyz,
} from './agent/facts.ts';
import { connectOnce, Lookout } from './agent/lookout.ts';
import { watchLoop } from './agent/loop-watch.ts';
import { Seat } from './agent/seat.ts';
import { type Clock, sleep, systemClock } from './base/clock.ts';
import { describeError, OperatingError } from './base/errors.ts';
import { createLogger, type Logger } from './base/log.ts';
import { type Prng, prng } from './base/prng.ts';
import { Control, type ControlPorts } from './cluster/control.ts';
import { diskAlarms } from './cluster/disk-trouble.ts';
import { Duties } from './cluster/duties.ts';
import { ClusterNode } from './cluster/node.ts';
import { Observations } from './cluster/observations.ts';
import { defaultHoldDown } from './cluster/preference.ts';
import { SelfReporter } from './cluster/self-report.ts';
import { formatVersion, memberById } from './cluster/state.ts';
import { agentMarginMs, leaseMs } from './cluster/timing.ts';
import type { AgentConfig } from './config/agent-config.ts';
import { defaultGrpcPort, defaultHttpPort, parseEndpoint } from './config/endpoint.ts';
import type { Environment } from './config/env.ts';
import type { Paths } from './config/paths.ts';
import { version } from './config/version.ts';
import { HttpServer } from './http/server.ts';
import { LbController } from './lb/controller.ts';
import { unsupportedDataPath } from './lb/data-path.ts';
import { slotsOf } from './lb/forwarding-slots.ts';
import { createAddressTable } from './linux/address-table.ts';
import { createClaimSource } from './linux/claim-source.ts';
import { rawNow } from './linux/clock.ts';
import { createFence } from './linux/create-fence.ts';
import type { HostFence } from './linux/host-fence.ts';
import { createIpvsForwarder } from './linux/ipvs-forwarder.ts';
import { watchRules } from './linux/kernel-events.ts';
import { lockNamespace } from './linux/netns-lock.ts';
import { createNftForwarder } from './linux/nft-forwarder.ts';
import { createSteering } from './linux/nftables.ts';
import { createPacketLink } from './linux/packet-link.ts';
import { takeRealTimePriority } from './linux/priority.ts';
import { createWorkerHost } from './linux/process.ts';
import { createNotifier, type SystemdNotifier } from './linux/systemd.ts';
import { hurry } from './linux/tcp.ts';
import { createTrial } from './linux/trial.ts';
import { certificateSigner } from './pki/ca.ts';
import { systemCrypto } from './pki/crypto.ts';
import { readPki } from './pki/files.ts';
import { Renewal } from './pki/renewal.ts';
import { Rpc } from './rpc/server.ts';
import { openLogStorage } from './storage/log-storage.ts';
import { probeCodec, rivalOf } from './vip/frames.ts';
import type { AnnounceLink } from './vip/ports.ts';

/** A `status` that reads the data directory while the agent starts lets go of it soon. */
const LOCK_WAIT_MS = 2_000;
/** The successor claims in these moments, perhaps on the same processors: nothing else begins. */
const CLAIM_MS = 60;
/** Ending what may be thousands of connections takes a processor for a while. */
const RELEASE_AFTER_MS = 200;
/** After the VIP has gone no connection over it can go on; this is for direct ones. */
const DRAIN_MS = 100;
/** What a backend takes to accept a connection that is compared with one through the kernel. */
const DIRECT_CONNECT_MS = 1_000;

export interface AgentOptions {
  readonly paths: Paths;
  readonly environment: Environment;
}

/**
 * Runs a node until SIGTERM, SIGINT or a failure; resolves with the exit status.
 *
 * @throws OperatingError (as a rejection) when it cannot start: nothing is left behind then.
 */
export async function runAgent(config: AgentConfig, options: AgentOptions): Promise<number> {
  const { paths, environment } = options;
  const log = createLogger(config.log).child({ node: config.node.name });
  const notifier = createNotifier(environment.notifySocket ?? undefined);
  const clock = systemClock(rawNow);
  // A broken invariant ends the process at once; the fence and the unit do the rest.
  process.once('uncaughtExceptionMonitor', (error) =>
    log.error('agent.crashed', { why: describeError(error) }),
  );
  refuseWithoutRights();
  const pki = readPki(paths.pki);
  const lock = await lockNamespace();
  try {
    const storage = await openLogStorage(paths.raft, {
      expected: { clusterId: config.cluster.id, nodeId: config.node.id },
      lockWait: { clock, maxMs: LOCK_WAIT_MS },
      roomWait: clock,
    });
    const priority = takeRealTimePriority();
    if (!priority.ok) log.warn('agent.no-real-time', { why: priority.reason });
    const agent = new Agent({ config, paths, log, clock, notifier, pki, storage });
    return await agent.run(environment.watchdogMs);
  } finally {
    lock.release();
  }
}

interface AgentParts {
  readonly config: AgentConfig;
  readonly paths: Paths;
  readonly log: Logger;
  readonly clock: Clock;
  readonly notifier: SystemdNotifier;
  readonly pki: ReturnType<typeof readPki>;
  readonly storage: Awaited<ReturnType<typeof openLogStorage>>;
}

class Agent {
  readonly #parts: AgentParts;
  readonly #random: Prng;
  readonly #table: ReturnType<typeof createAddressTable>;
  readonly #seat: Seat;
  readonly #lookout: Lookout;
  readonly #lb: LbController;
  readonly #duties: Duties;
  readonly #node: ClusterNode;
  readonly #rpc: Rpc;
  readonly #renewal: Renewal;
  readonly #reporter: SelfReporter;
  readonly #http: HttpServer;
  readonly #sources: FactSources;
  readonly #timeAlarms = new Map<string, string>();
  #loopWatch: { close(): void } | null = null;
  #ruleWatch: { close(): void } | null = null;
  #end: (exitCode: number) => void = () => undefined;

  /** Everything is plugged together here, and nothing begins. */
  constructor(parts: AgentParts) {
    const { config, log, clock } = parts;
    this.#parts = parts;
    this.#random = prng(randomInt(2 ** 47));
    this.#table = createAddressTable(clock);
    const { fence, reason } = createFence();
    log.info('agent.fence', { kind: fence.kind, reason });
    const link = createPacketLink(clock, probeCodec);
    this.#seat = new Seat({
      ...{ clock, log, config, fence, link, table: this.#table },
      source: createClaimSource(clock, rivalOf),
      view: () => this.#node.view(),
      onChange: () => this.#duties.hostChanged(),
    });
    this.#lb = new LbController({
      clock,
      random: this.#random,
      log,
      workers: createWorkerHost({ entry: workerEntry() }),
      workerCount: workerCount(availableParallelism()),
      steering: createSteering(),
      kernel: {
        forwarders: [createNftForwarder(slotsOf), createIpvsForwarder()],
        trial: createTrial({ clock, random: this.#random }),
        connects: async ({ address, port }) =>
          (await connectOnce(clock, address, port, DIRECT_CONNECT_MS)) === null,
      },
      localAddresses: () => {
        const all = this.#table.links().flatMap(({ addresses }) => addresses);
        return new Set(all.map(({ address }) => address));
      },
    });
    this.#duties = this.#newDuties();
    this.#node = this.#newNode();
    this.#renewal = this.#newRenewal();
    this.#sources = this.#newSources(fence);
    this.#rpc = this.#newRpc();
    this.#reporter = this.#newReporter();
    this.#lookout = this.#newLookout(link);
    this.#http = new HttpServer({
      ...listenAt(config.http.listen, defaultHttpPort),
      log,
      facts: () => httpFacts(this.#sources),
      livez: () => livez(this.#sources),
      readyz: () => readyz(this.#sources),
    });
  }

  /** Resolves with the exit status, once everything has been let go. */
  async run(watchdogMs: number | null): Promise<number> {
    const { log, notifier, clock, config } = this.#parts;
    const ended = new Promise<number>((resolve) => {
      this.#end = resolve;
    });
    const stop = (): void => this.#end(0);
    process.once('SIGTERM', stop).once('SIGINT', stop);
    // Rule R11: whatever a former process left goes before anything else begins.
    this.#seat.start();
    try {
      await this.#rpc.start();
      await this.#http.start();
      this.#begin();
      notifier.ready();
      log.info('agent.ready', {
        version,
        listen: config.listen,
        startMs: Math.round(process.uptime() * 1000),
      });
      const watchdog = watchdogMs === null ? null : beat(clock, watchdogMs / 2, notifier);
      const exitCode = await ended;
      watchdog?.cancel();
      return exitCode;
    } finally {
      await this.#stop();
      process.off('SIGTERM', stop).off('SIGINT', stop);
    }
  }

  #begin(): void {
    const { notifier } = this.#parts;
    this.#lb.start();
    this.#duties.attach(this.#node);
    this.#ruleWatch = watchRules(this.#parts.clock, () => this.#lb.hostChanged());
    this.#table.watch(() => {
      this.#duties.hostChanged();
      this.#reporter.look();
    });
    this.#seat.vip.onChange(({ address, held }) => {
      if (!held) this.#releaseSoon(address);
      notifier.status(this.#statusLine());
    });
    this.#node.onView(() => notifier.status(this.#statusLine()));
    this.#node.onView(({ role }) => {
      if (role !== 'pre-candidate' && role !== 'candidate') return;
      // What asks for votes leaves in this turn of the loop, and must not wait for the links.
      setImmediate(() => this.#seat.lookForRivals());
    });
    this.#node.start();
    this.#renewal.start();
    this.#reporter.start();
    this.#lookout.start();
    this.#loopWatch = this.#watchLoop();
  }

  /** Its clients are let go after the moments in which the successor counts on this node. */
  #releaseSoon(address: string): void {
    const { clock } = this.#parts;
    clock.after(RELEASE_AFTER_MS, () => {
      if (!this.#seat.vip.holds(address)) this.#lb.releaseClients(address);
    });
  }

  /** Root to leaf: the VIP moves first, and the log closes last. */
  async #stop(): Promise<void> {
    const { log, notifier } = this.#parts;
    notifier.stopping();
    log.info('agent.stopping');
    this.#loopWatch?.close();
    this.#ruleWatch?.close();
    this.#reporter.stop();
    this.#lookout.stop();
    this.#renewal.stop();
    this.#seat.stopLooking();
    await attempt(log, 'node', () => this.#node.stop());
    await attempt(log, 'vip', () => this.#seat.retire());
    await sleep(this.#parts.clock, CLAIM_MS);
    await attempt(log, 'lb', () => this.#lb.stop(DRAIN_MS));
    // Peers dial anew at once, and the successor has better things to do in its first moments.
    await attempt(log, 'rpc', () => this.#rpc.close());
    // Last, because it takes the kernel long: shut, the fence stands in nobody's way.
    await attempt(log, 'fence', () => this.#seat.vip.stop());
    await attempt(log, 'http', () => this.#http.stop());
    this.#table.close();
    log.info('agent.stopped');
  }

  #fail(error: unknown): void {
    this.#parts.log.error('agent.failed', { why: describeError(error) });
    this.#end(1);
  }

  /** The lease beyond the agent's margin is all that a slow turn of the loop may take. */
  #watchLoop(): { close(): void } {
    const { clock, log } = this.#parts;
    const spareMs = (): number => {
      const { promiseMs } = this.#node.timing().timing;
      return leaseMs(promiseMs) - agentMarginMs;
    };
    return watchLoop({ clock, log, spareMs });
  }

  #newDuties(): Duties {
    return new Duties({
      clock: this.#parts.clock,
      marginMs: agentMarginMs,
      vip: this.#seat,
      balance: (frontends) => this.#lb.set({ frontends }),
      problem: (state) => this.#seat.place(state),
    });
  }

  #newNode(): ClusterNode {
    const { config, clock, storage, log } = this.#parts;
    return new ClusterNode(
      {
        selfId: config.node.id,
        holdDown: { ...defaultHoldDown, holdMs: config.preemptDelaySeconds * 1_000 },
      },
      {
        clock,
        storage,
        log,
        rng: this.#random,
        sink: this.#duties,
        transport: {
          send: (message) => this.#rpc.transport.send(message),
          setPeers: (peers) => this.#rpc.transport.setPeers(peers),
        },
        // The first turn reads what has arrived, the second runs after it.
        yieldToIo: (callback) => void setImmediate(() => setImmediate(callback)),
        onFatal: (error) => this.#fail(error),
      },
    );
  }

  #newSources(fence: HostFence): FactSources {
    return {
      clock: this.#parts.clock,
      version,
      name: this.#parts.config.node.name,
      node: this.#node,
      vip: this.#seat.vip,
      lb: this.#lb,
      fence,
      peers: () => this.#rpc.peers(),
      placed: () => this.#seat.placed(),
      observed: (address) => this.#lookout.seen(address),
      conflicts: () => this.#seat.conflicts(),
      eligibility: () => this.#node.eligibility(),
      alarms: () => [
        ...this.#timeAlarms.values(),
        ...this.#seat.alarms(),
        ...diskAlarms(this.#node.diskTrouble()),
        ...fenceAlarms(fence),
      ],
    };
  }

  #newReporter(): SelfReporter {
    const { config, clock, log } = this.#parts;
    return new SelfReporter({
      clock,
      log,
      node: this.#node,
      report: (report) => this.#rpc.operations.report(report),
      facts: () => ({
        version,
        formatVersion,
        address: config.advertise,
        certExpires: new Date(this.#renewal.certificate.notAfterMs).toISOString(),
        macs: this.#seat.macs(),
      }),
    });
  }

  #newLookout(link: AnnounceLink): Lookout {
    const { clock, log } = this.#parts;
    return new Lookout({
      clock,
      log,
      link,
      node: this.#node,
      vips: () => this.#seat.carried(),
      links: () => this.#table.links(),
      connect: (address, port, timeoutMs) => connectOnce(clock, address, port, timeoutMs),
      report: (report) => this.#rpc.operations.observe(report),
    });
  }

  #newRenewal(): Renewal {
    const { config, log, clock, paths, pki } = this.#parts;
    const { id: nodeId, name } = config.node;
    const signer = certificateSigner(pki.ca, clock);
    const local = { clusterId: config.cluster.id, nodeId, name, address: config.advertise };
    return new Renewal({
      clock,
      log,
      folder: paths.pki,
      keys: pki,
      name,
      sign: async (csr) => {
        if (signer.caKey !== null) return signer.sign({ ...local, csr });
        return (await this.#rpc.operations.signCertificate({ nodeId, csr })).certificate;
      },
      onRenewed: (keys) => {
        this.#rpc.updateCertificates({ ...keys, caCertificate: pki.ca.certificate });
        this.#reporter.look();
      },
    });
  }

  #newRpc(): Rpc {
    const { config, log, clock, paths, pki } = this.#parts;
    const ports: ControlPorts = {
      node: this.#node,
      clock,
      crypto: systemCrypto(),
      signer: certificateSigner(pki.ca, clock),
      localFacts: () => localFacts(this.#sources),
      peer: (id) => this.#rpc.operationsOf(id),
      observations: new Observations(),
      renewCertificate: async () =>
        new Date((await this.#renewal.renew()).notAfterMs).toISOString(),
      unsupportedDataPath,
    };
    return new Rpc({
      listen: listenAt(config.listen, defaultGrpcPort),
      advertise: config.advertise,
      material: {
        clusterId: config.cluster.id,
        nodeId: config.node.id,
        certificate: pki.certificate,
        key: pki.key,
        caCertificate: pki.ca.certificate,
      },
      clock,
      random: this.#random,
      log,
      standingOf: (id) => standing(this.#node.view().state, id),
      operations: new Control(ports),
      forwarded: new Control({ ...ports, peer: null }),
      local: { path: paths.socket, peerOf: localPeer, gid: readersGid() },
      tune: (socket) => void hurry(socket),
      deliver: (message) => this.#node.receive(message),
      onUnreachable: (id) => this.#node.reportUnreachable(id),
      onSnapshotResult: (id, ok) => this.#node.reportSnapshot(id, ok),
      onTimeAlarm: (id, time) => this.#alarm(id, time),
    });
  }

  #alarm(id: string, time: string): void {
    const name = memberById(this.#node.view().state, id)?.name ?? id;
    const sentence = `the certificate of ${name} is ${time}: it was let in by its key`;
    if (this.#timeAlarms.get(id) === sentence) return;
    this.#timeAlarms.set(id, sentence);
    this.#parts.log.warn('certificate.out-of-time', { member: name, time });
  }

  /** For `systemctl status`. */
  #statusLine(): string {
    const { role, leader, state } = this.#node.view();
    const held = this.#seat.vip.view().filter(({ heldHere }) => heldHere);
    if (held.length > 0) return `holds ${held.map(({ address }) => address).join(', ')}`;
    const name = leader === null ? null : (memberById(state, leader)?.name ?? leader);
    return name === null ? `${role}, no leader is known` : `${role}, ${name} leads`;
  }
}

/** Built, the worker lies beside this program; in the source tree it is in its room. */
function workerEntry(): string {
  const path = import.meta.url.endsWith('.ts') ? './lb/worker.ts' : './worker.js';
  return fileURLToPath(new URL(path, import.meta.url));
}

/**
 * One for each processor, as long as that helps; two at least, because some hosts allow a process
 * no more than 20,000 descriptors, and a connection needs two.
 */
function workerCount(processors: number): number {
  return Math.min(4, Math.max(2, processors));
}

function listenAt(address: string, defaultPort: number) {
  const parsed = parseEndpoint(address, defaultPort);
  if (parsed !== null) return parsed;
  throw new OperatingError({ code: 'config-invalid', message: `${address} is no HOST:PORT` });
}

function beat(clock: Clock, everyMs: number, notifier: SystemdNotifier) {
  let timer = clock.after(0, tick);
  function tick(): void {
    notifier.watchdog();
    timer = clock.after(everyMs, tick);
  }
  return { cancel: () => timer.cancel() };
}

/** One part that cannot be stopped must not keep the others. */
async function attempt(log: Logger, part: string, stop: () => unknown): Promise<void> {
  try {
    await stop();
  } catch (error) {
    log.error('agent.stop-failed', { part, why: describeError(error) });
  }
}
