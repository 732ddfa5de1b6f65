/**
 * What `join` does: asks a member for admission and writes what it answers. The key is written
 * before anything is asked, so that a join that was cut short is the same join when it is run
 * again.
 */
import { connect } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import { errorCode, OperatingError } from '../../base/errors.ts';
import { joinerSnapshot } from '../../cluster/bootstrap.ts';
import type { AdmitResult } from '../../cluster/operations.ts';
import { formatVersion } from '../../cluster/state.ts';
import { type AgentConfig, defaultPreemptDelaySeconds } from '../../config/agent-config.ts';
import { writeAgentConfig } from '../../config/agent-file.ts';
import {
  defaultGrpcPort,
  defaultHttpListen,
  type Endpoint,
  formatEndpoint,
} from '../../config/endpoint.ts';
import { version } from '../../config/version.ts';
import { readNodeKey, writePki } from '../../pki/files.ts';
import { createKey, createRequest } from '../../pki/issue.ts';
import { requestAdmission } from '../../rpc/join-client.ts';
import { createDataDir } from '../../storage/data-dir.ts';
import { placeVip } from '../../vip/placement.ts';
import type { Link } from '../../vip/ports.ts';
import type { World } from './found.ts';
import { freeListenHost, hostLinks, readyLink } from './host.ts';
import { beginNode, finishNode, type Origin } from './node-dir.ts';

export interface EnterRequest {
  readonly peer: Endpoint;
  readonly token: string;
  readonly caHash: string;
  readonly name: string;
  readonly role: 'voter' | 'witness';
  /** Null: the address from which this host reaches the peer. */
  readonly advertise: Endpoint | null;
  readonly interface: string | null;
  readonly httpListen: string | null;
  /** Name of the member whose place this host takes. */
  readonly replace: string | null;
}

export interface Entered {
  readonly config: AgentConfig;
  /** The cluster knew this key before: the join was cut short and is now complete. */
  readonly already: boolean;
}

/** A peer on the same site accepts at once; one that is switched off never does. */
const connectWithinMs = 3000;

/** @throws OperatingError for everything that stands in the way */
export async function enterCluster(request: EnterRequest, world: World): Promise<Entered> {
  const { paths, clock, say } = world;
  const links = hostLinks(clock);
  if (request.interface !== null) refuseMissing(request.interface, links);
  const address = formatEndpoint(request.peer);
  const own = await ownAddressTowards(request.peer, clock);
  const advertise = request.advertise ?? { host: own, port: defaultGrpcPort };
  const listenHost = await freeListenHost(advertise.port);

  await beginNode(paths, originOf(request));
  const key = readNodeKey(paths.pki) ?? createKey();
  writePki(paths.pki, { key });
  const carrier = likelyCarrier(request, links, own);
  if (carrier !== undefined) readyLink(carrier);
  say(`asking ${address} for admission …`);
  const admitted = await requestAdmission({
    address,
    caHash: request.caHash,
    clock,
    request: {
      token: request.token,
      name: request.name,
      address: formatEndpoint(advertise),
      role: request.role,
      csr: await createRequest({ key, name: request.name }),
      version,
      formatVersion,
      replace: request.replace,
    },
  });
  warnOfVips(admitted, request, world, links);

  const config: AgentConfig = {
    node: { id: admitted.nodeId, name: request.name },
    cluster: { id: admitted.clusterId, name: admitted.clusterName },
    role: request.role,
    listen: formatEndpoint({ host: listenHost, port: advertise.port }),
    advertise: formatEndpoint(advertise),
    http: { listen: request.httpListen ?? defaultHttpListen },
    interface: request.interface,
    interfaces: {},
    preemptDelaySeconds: defaultPreemptDelaySeconds,
    log: { level: 'info', format: 'text' },
  };
  const { certificate, caCertificate, caKey } = admitted;
  writePki(paths.pki, { caCertificate, caKey, certificate });
  writeAgentConfig(paths.config, config);
  const identity = {
    clusterId: admitted.clusterId,
    nodeId: admitted.nodeId,
    name: request.name,
  };
  await createDataDir(paths.raft, identity, joinerSnapshot(admitted));
  await finishNode(paths);
  return { config, already: admitted.already };
}

/** What must be the same for a second `join` to be the same one: not the peer, not the token. */
export function originOf(request: EnterRequest): Origin {
  return {
    command: 'join',
    name: request.name,
    role: request.role,
    'CA hash': request.caHash,
    ...(request.interface === null ? {} : { interface: request.interface }),
    ...(request.advertise === null ? {} : { advertise: formatEndpoint(request.advertise) }),
  };
}

/** The link that will carry the VIPs, as far as can be told before they are known. */
function likelyCarrier(
  { interface: wanted, role }: Pick<EnterRequest, 'interface' | 'role'>,
  links: readonly Link[],
  own: string,
): Link | undefined {
  if (role === 'witness') return undefined;
  const named = links.find(({ name }) => name === wanted);
  return named ?? links.find(({ addresses }) => addresses.some(({ address }) => address === own));
}

function refuseMissing(wanted: string, links: readonly Link[]): void {
  // Whether the other selectors find one depends on the VIP, which is not known yet.
  if (wanted.includes(':') || links.some(({ name }) => name === wanted)) return;
  const names = links.filter((link) => !link.loopback).map(({ name }) => name);
  throw new OperatingError({
    code: 'interface-missing',
    message: `interface ${wanted} is not there`,
    hint: `this host has ${names.join(', ') || 'none'}`,
    facts: { interface: wanted, interfaces: names },
  });
}

/** A node that cannot hold a VIP still votes, so this is worth a word and no refusal. */
function warnOfVips(
  admitted: AdmitResult,
  request: EnterRequest,
  { say }: World,
  links: readonly Link[],
): void {
  if (request.role === 'witness') return;
  for (const vip of admitted.vips) {
    const wanted = request.interface ?? vip.interface;
    const placement = placeVip(vip.address, links, wanted === null ? {} : { wanted });
    if ('refused' in placement) {
      say(`warning: this host cannot hold ${vip.address}: ${placement.refused}; see --interface`);
    } else if (placement.warning !== null) say(`warning: ${placement.warning}`);
  }
}

/** The kernel's own choice of the address from which this host reaches the peer. */
function ownAddressTowards(peer: Endpoint, clock: Clock): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: peer.host, port: peer.port });
    const fail = (why: string) => {
      timer.cancel();
      socket.destroy();
      reject(unreachablePeer(peer, why));
    };
    const timer = clock.after(connectWithinMs, () => fail('it does not answer'));
    socket.once('error', (error) => fail(errorCode(error) ?? error.message));
    socket.once('connect', () => {
      timer.cancel();
      const { localAddress } = socket;
      socket.destroy();
      if (localAddress === undefined) reject(unreachablePeer(peer, 'the connection broke'));
      else resolve(localAddress);
    });
  });
}

function unreachablePeer(peer: Endpoint, why: string): OperatingError {
  const address = formatEndpoint(peer);
  return new OperatingError({
    code: 'peer-unreachable',
    message: `${address} cannot be reached (${why})`,
    hint: 'see that its agent runs and that no firewall is between; or name another member',
    facts: { peer: address },
  });
}
