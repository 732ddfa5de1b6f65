/**
 * gRPC for members: one server object for each member, so that a handler knows by construction who
 * calls, and a removed member's connections end with its server.
 */
import type { TLSSocket } from 'node:tls';
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { PeerIdentity } from './identity.ts';
import { maxMessageBytes } from './limits.ts';

/**
 * Connections of one member: three streams, an operator's or two, and those of a former life that
 * keepalive has not found dead yet. Beyond, the oldest goes.
 */
const maxConnections = 24;

/** Members, and nodes our CA signed that our state does not know yet. */
const maxServers = 64;

const serverOptions = {
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_concurrent_streams': 64,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.enable_channelz': 0,
  'grpc-node.flow_control_window': 1024 * 1024,
} as const;

export interface OfferedService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

interface MemberServer {
  readonly peer: PeerIdentity;
  readonly server: Server;
  readonly injector: ConnectionInjector;
  readonly sockets: Set<TLSSocket>;
}

export class MemberServers {
  readonly #offer: (peer: PeerIdentity) => readonly OfferedService[];
  readonly #servers = new Map<string, MemberServer>();

  constructor(offer: (peer: PeerIdentity) => readonly OfferedService[]) {
    this.#offer = offer;
  }

  /** Serves `peer` on a finished TLS connection; false where there are too many already. */
  accept(socket: TLSSocket, peer: PeerIdentity): boolean {
    const member = this.#serverFor(peer);
    if (member === null) return false;
    member.sockets.add(socket);
    socket.once('close', () => member.sockets.delete(socket));
    if (member.sockets.size > maxConnections) {
      const [oldest] = member.sockets;
      oldest?.destroy();
    }
    member.injector.injectConnection(socket);
    return true;
  }

  /** Ends the connections of everybody who is no longer welcome. */
  recheck(welcome: (peer: PeerIdentity) => boolean): void {
    for (const member of this.#servers.values()) {
      if (!welcome(member.peer)) this.#end(member);
    }
  }

  close(): void {
    for (const member of this.#servers.values()) this.#end(member);
  }

  #serverFor(peer: PeerIdentity): MemberServer | null {
    const known = this.#servers.get(peer.nodeId);
    if (known?.peer.publicKeyHash === peer.publicKeyHash) return known;
    if (known !== undefined) this.#end(known);
    if (this.#servers.size >= maxServers) this.#forgetIdle();
    if (this.#servers.size >= maxServers) return null;
    const server = new Server(serverOptions);
    for (const { definition, implementation } of this.#offer(peer)) {
      server.addService(definition, implementation);
    }
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const member = { peer, server, injector, sockets: new Set<TLSSocket>() };
    this.#servers.set(peer.nodeId, member);
    return member;
  }

  #forgetIdle(): void {
    for (const member of this.#servers.values()) if (member.sockets.size === 0) this.#end(member);
  }

  #end(member: MemberServer): void {
    this.#servers.delete(member.peer.nodeId);
    for (const socket of member.sockets) socket.destroy();
    member.server.forceShutdown();
  }
}
