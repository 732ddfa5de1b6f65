/**
 * What `init` does: looks whether this host may found a cluster, then writes the first node of one.
 * Everything that can be refused is refused before anything is written.
 */
import { readFile } from 'node:fs/promises';
import type { Clock } from '../../base/clock.ts';
import { describeError, OperatingError } from '../../base/errors.ts';
import { bootstrapSnapshot, type Founder } from '../../cluster/bootstrap.ts';
import { isoTime } from '../../cluster/duration.ts';
import { defaultSpec } from '../../cluster/spec-document.ts';
import { generateToken, storedToken } from '../../cluster/tokens.ts';
import { type AgentConfig, defaultPreemptDelaySeconds } from '../../config/agent-config.ts';
import { writeAgentConfig } from '../../config/agent-file.ts';
import {
  defaultGrpcPort,
  defaultHttpListen,
  type Endpoint,
  formatEndpoint,
} from '../../config/endpoint.ts';
import type { Paths } from '../../config/paths.ts';
import { version } from '../../config/version.ts';
import { type Ca, certificateSigner, loadCa } from '../../pki/ca.ts';
import { systemCrypto } from '../../pki/crypto.ts';
import { writePki } from '../../pki/files.ts';
import { parseCertificates } from '../../pki/inspect.ts';
import { createCa, createKey, createRequest } from '../../pki/issue.ts';
import { createDataDir } from '../../storage/data-dir.ts';
import { placeVip } from '../../vip/placement.ts';
import type { Link, VipPlacement } from '../../vip/ports.ts';
import { freeListenHost, hostLinks, ownAddress, vipUse } from './host.ts';
import { beginNode, finishNode, type Origin } from './node-dir.ts';
import { findRival } from './rivals.ts';

export interface FoundRequest {
  readonly clusterName: string;
  readonly name: string;
  readonly vips: readonly string[];
  readonly vipPort: number;
  readonly backendPort: number;
  readonly frontends: readonly { readonly port: number; readonly check: 'tcp' | 'https' }[];
  /** Null: the interface of the VIP's subnet. */
  readonly interface: string | null;
  /** Null: this host's address in the VIP's subnet. */
  readonly advertise: Endpoint | null;
  readonly httpListen: string | null;
  /** The operator's own token; null to make one. */
  readonly token: string | null;
  /** Paths of a CA of the operator's own; null to make one. */
  readonly ca: { readonly certificate: string; readonly key: string } | null;
  readonly peers: readonly Endpoint[];
}

export interface World {
  readonly paths: Paths;
  readonly clock: Clock;
  /** Tells the person what goes on, and what may be wrong. */
  readonly say: (line: string) => void;
}

export interface Founded {
  readonly config: AgentConfig;
  readonly token: string;
  readonly tokenExpires: string;
  readonly caHash: string;
}

const tokenLifeMs = 24 * 3_600_000;

/** @throws OperatingError for everything that stands in the way, before anything is written */
export async function foundCluster(request: FoundRequest, world: World): Promise<Founded> {
  const { clock } = world;
  const reach = await inspectHost(request, world);
  const ca = await chosenCa(request, clock);
  const crypto = systemCrypto();
  const config: AgentConfig = {
    node: { id: crypto.randomHex(8), name: request.name },
    cluster: { id: crypto.randomHex(8), name: request.clusterName },
    role: 'voter',
    ...reach,
    http: { listen: request.httpListen ?? defaultHttpListen },
    interface: request.interface,
    interfaces: {},
    preemptDelaySeconds: defaultPreemptDelaySeconds,
    log: { level: 'info', format: 'text' },
  };
  const token = request.token ?? generateToken(crypto);
  const expiresWallMs = clock.wallNow() + tokenLifeMs;
  const stored = storedToken(crypto, {
    token,
    expiresWallMs,
    uses: null,
    description: 'made by init',
  });

  await beginNode(world.paths, originOf(request));
  const founder = await writeKeys(config, { ca, key: createKey() }, world);
  writeAgentConfig(world.paths.config, config);
  const { node, cluster } = config;
  const snapshot = bootstrapSnapshot({
    clusterId: cluster.id,
    clusterName: cluster.name,
    spec: specOf(request),
    founder,
    tokens: [stored],
  });
  const identity = { clusterId: cluster.id, nodeId: node.id, name: node.name };
  await createDataDir(world.paths.raft, identity, snapshot);
  await finishNode(world.paths);
  return { config, token, tokenExpires: isoTime(expiresWallMs), caHash: ca.hash };
}

/** Where this host can be reached, once nothing speaks against a cluster here. */
export async function inspectHost(
  request: Pick<FoundRequest, 'vips' | 'interface' | 'advertise' | 'peers'>,
  world: World,
): Promise<Pick<AgentConfig, 'listen' | 'advertise'>> {
  const links = hostLinks(world.clock);
  const placements = request.vips.map((vip) => placed(vip, request, links, world.say));
  const advertise = request.advertise ?? ownEndpoint(placements, links);
  const listenHost = await freeListenHost(advertise.port);
  world.say('looking whether the address is free …');
  await Promise.all(placements.map((vip) => refuseTaken(vip, links, world)));
  await refuseRivals(request.peers, world.clock);
  return {
    listen: formatEndpoint({ host: listenHost, port: advertise.port }),
    advertise: formatEndpoint(advertise),
  };
}

/** Writes the CA, this node's key, and a certificate for it; who it is with them. */
export async function writeKeys(
  config: AgentConfig,
  { ca, key }: { readonly ca: Ca; readonly key: string },
  world: World,
): Promise<Founder> {
  const { node, cluster, advertise } = config;
  const csr = await createRequest({ key, name: node.name });
  const signer = certificateSigner(ca, world.clock);
  const certificate = await signer.sign({
    ...{ csr, clusterId: cluster.id, nodeId: node.id, name: node.name, address: advertise },
  });
  writePki(world.paths.pki, { caCertificate: ca.certificate, caKey: ca.key, certificate, key });
  const [leaf] = parseCertificates(certificate) ?? [];
  return {
    ...node,
    address: advertise,
    publicKeyHash: await signer.publicKeyHashOf(csr),
    version,
    certExpires: leaf === undefined ? '' : isoTime(leaf.validToDate.getTime()),
  };
}

/** What must be the same for a second `init` to be the same one. */
export function originOf(request: FoundRequest): Origin {
  return {
    command: 'init',
    'cluster name': request.clusterName,
    name: request.name,
    vips: request.vips.join(','),
    'VIP port': String(request.vipPort),
    'backend port': String(request.backendPort),
    frontends: request.frontends.map(({ port, check }) => `${port}:${check}`).join(',') || 'none',
    ...(request.interface === null ? {} : { interface: request.interface }),
    ...(request.advertise === null ? {} : { advertise: formatEndpoint(request.advertise) }),
  };
}

function specOf(request: FoundRequest) {
  return defaultSpec({
    // Interfaces differ from host to host, so the spec leaves them to each host's subnets.
    vips: request.vips.map((address) => ({ address, interface: null })),
    vipPort: request.vipPort,
    backendPort: request.backendPort,
    frontends: request.frontends,
  });
}

function placed(
  address: string,
  request: Pick<FoundRequest, 'interface'>,
  links: readonly Link[],
  say: World['say'],
): VipPlacement {
  const own = links.find((link) => link.addresses.some((each) => each.address === address));
  if (own !== undefined) throw takenHere(address, own.name);
  const wanted = request.interface;
  const placement = placeVip(address, links, wanted === null ? {} : { wanted });
  if ('refused' in placement) {
    const names = links.filter((link) => !link.loopback).map(({ name }) => name);
    throw new OperatingError({
      code: 'vip-not-placeable',
      message: `the VIP ${address} cannot be held here: ${placement.refused}`,
      hint: `name one of this host's interfaces with --interface: ${names.join(', ') || 'none'}`,
      facts: { vip: address, interfaces: names },
    });
  }
  if (placement.warning !== null) say(`warning: ${placement.warning}`);
  return { address, interface: placement.interface };
}

function ownEndpoint(placements: readonly VipPlacement[], links: readonly Link[]): Endpoint {
  for (const vip of placements) {
    const host = ownAddress(vip.address, vip.interface, links);
    if (host !== null) return { host, port: defaultGrpcPort };
  }
  throw new OperatingError({
    code: 'no-own-address',
    message: `this host has no address of its own on ${placements[0]?.interface ?? 'any link'}`,
    hint: 'give the address under which the peers reach it with --advertise',
  });
}

function takenHere(vip: string, link: string): OperatingError {
  return new OperatingError({
    code: 'vip-in-use',
    message: `the VIP ${vip} is an address of this host already (on ${link})`,
    hint: 'take another address, or remove it; `holdfast cleanup` removes one of ours',
    facts: { vip, interface: link },
  });
}

async function refuseTaken(
  vip: VipPlacement,
  links: readonly Link[],
  { clock, say }: World,
): Promise<void> {
  const use = await vipUse(vip, links, clock);
  if (use.by === 'unknown') {
    say(`warning: whether ${vip.address} is in use could not be found out: ${use.why}`);
  }
  if (use.by === 'stranger') {
    throw new OperatingError({
      code: 'vip-in-use',
      message: `the VIP ${vip.address} answers already, from ${use.mac} on ${vip.interface}`,
      hint: 'if a cluster has it, join that one with `holdfast join`; else take a free address',
      facts: { vip: vip.address, mac: use.mac, interface: vip.interface },
    });
  }
}

async function refuseRivals(peers: readonly Endpoint[], clock: Clock): Promise<void> {
  const rival = await findRival(peers, clock);
  if (rival === null) return;
  throw new OperatingError({
    code: 'cluster-exists',
    message: `${rival.peer} runs cluster ${rival.clusterId} already`,
    hint: 'join it: run `holdfast token create --print-join-command` there, and the result here',
    facts: { peer: rival.peer, clusterId: rival.clusterId },
  });
}

/** The CA of the operator's own, or a new one. */
export async function chosenCa(
  request: Pick<FoundRequest, 'ca' | 'clusterName'>,
  clock: Clock,
): Promise<Ca> {
  const wallNowMs = clock.wallNow();
  if (request.ca === null) {
    const made = await createCa({ clusterName: request.clusterName, wallNowMs });
    return loadCa({ ...made, wallNowMs: null });
  }
  const certificate = await readPem(request.ca.certificate);
  return loadCa({ certificate, key: await readPem(request.ca.key), wallNowMs });
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new OperatingError({
      code: 'file-unreadable',
      message: `${path} cannot be read: ${describeError(cause)}`,
      hint: 'give the paths of PEM files with --ca-cert and --ca-key',
      facts: { path },
      cause,
    });
  }
}
