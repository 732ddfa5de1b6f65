/**
 * Operations that any node takes and the leader answers: tried here first, then asked of the
 * leader. "Not the leader" means that nothing was done, so it is safe to look again for a while:
 * elections are short, and three hosts that join at once should not notice one.
 */
import { type Clock, type Millis, sleep } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { Operations } from '../cluster/operations.ts';
import type { PeerAddress } from '../cluster/ports.ts';
import type { TimeValidity } from '../pki/inspect.ts';
import {
  type OperationArgs,
  type OperationName,
  type OperationResult,
  operationsBy,
} from './admin-codec.ts';
import { type MemberConnection, memberClient } from './member-client.ts';
import type { NodeTls } from './node-tls.ts';
import { samePeer } from './peer-link.ts';

/** How long to look for a leader: several elections. */
const leaderPatienceMs: Millis = 3_000;
const retryMs: Millis = 50;

export interface ForwarderOptions {
  readonly local: Operations;
  /** For what another member asks of us: answered here or not at all, so it makes one hop. */
  readonly forwarded: Operations;
  readonly tls: NodeTls;
  readonly clock: Clock;
  /** Where, and with which key, a member is found; null where it is not known. */
  readonly peerOf: (id: string) => PeerAddress | null;
  readonly onTimeAlarm: (nodeId: string, time: TimeValidity) => void;
}

export class Forwarder {
  readonly #options: ForwarderOptions;
  /** To members that were asked something, by id. */
  readonly #connections = new Map<
    string,
    { readonly peer: PeerAddress; readonly client: MemberConnection }
  >();
  #closed = false;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** Every operation, answered here or by the leader. */
  readonly operations: Operations = operationsBy((name, args) => this.perform(name, args, true));

  /**
   * The operations of one member, asked of that member alone: it forwards nothing. Unknown or
   * unreachable, each rejects with `peer-unreachable`, and nothing was done.
   */
  operationsOf(id: string): Operations {
    if (id === this.#options.tls.nodeId) return this.#options.forwarded;
    const ask = async <K extends OperationName>(
      name: K,
      args: OperationArgs<K>,
    ): Promise<OperationResult<K>> => {
      const peer = this.#options.peerOf(id);
      if (peer === null || this.#closed) throw unknownPeer(id);
      return call(this.#clientTo(peer), name, args);
    };
    return operationsBy(ask);
  }

  /** @param mayForward false for what another node forwarded to us. */
  async perform<K extends OperationName>(
    name: K,
    args: OperationArgs<K>,
    mayForward: boolean,
  ): Promise<OperationResult<K>> {
    const { local, forwarded, clock } = this.#options;
    if (!mayForward) return call(forwarded, name, args);
    const giveUpAt = clock.now() + leaderPatienceMs;
    for (;;) {
      try {
        return await call(local, name, args);
      } catch (error) {
        if (!isNotLeader(error)) throw error;
        const answer = await this.#askLeader(name, args, error);
        if (answer !== null) return answer.result;
        if (this.#closed || clock.now() >= giveUpAt) throw error;
        await sleep(clock, retryMs);
      }
    }
  }

  close(): void {
    this.#closed = true;
    for (const { client } of this.#connections.values()) client.close();
    this.#connections.clear();
  }

  /** Null where there was no leader to ask, or it led no more: nothing was done. */
  async #askLeader<K extends OperationName>(
    name: K,
    args: OperationArgs<K>,
    error: OperatingError,
  ): Promise<{ readonly result: OperationResult<K> } | null> {
    const leaderId = leaderOf(error);
    const peer = leaderId === null ? null : this.#options.peerOf(leaderId);
    if (peer === null || this.#closed) return null;
    try {
      return { result: await call(this.#clientTo(peer), name, args) };
    } catch (theirs) {
      const again = isNotLeader(theirs) || isUnreachable(theirs);
      if (!again) throw theirs;
      return null;
    }
  }

  #clientTo(peer: PeerAddress): MemberConnection {
    this.#forgetStrangers();
    const open = this.#connections.get(peer.id);
    if (open !== undefined && samePeer(open.peer, peer)) return open.client;
    open?.client.close();
    const { tls, clock, onTimeAlarm } = this.#options;
    const client = memberClient({ tls, clock, peer, onTimeAlarm });
    this.#connections.set(peer.id, { peer, client });
    return client;
  }

  #forgetStrangers(): void {
    for (const [id, { client }] of this.#connections) {
      if (this.#options.peerOf(id) !== null) continue;
      client.close();
      this.#connections.delete(id);
    }
  }
}

/** One call of one method, which TypeScript cannot see to fit its own arguments. */
function call<K extends OperationName>(
  operations: Operations,
  name: K,
  args: OperationArgs<K>,
): Promise<OperationResult<K>> {
  const method = operations[name] as (...args: OperationArgs<K>) => Promise<OperationResult<K>>;
  return method.apply(operations, args);
}

function unknownPeer(id: string): OperatingError {
  return new OperatingError({
    code: 'peer-unreachable',
    message: `the member ${id} cannot be asked: where it is reached is not known here`,
    hint: 'try again in a moment; see `holdfast status`',
    facts: { id },
  });
}

function isNotLeader(error: unknown): error is OperatingError {
  return error instanceof OperatingError && error.code === 'not-leader';
}

function isUnreachable(error: unknown): boolean {
  return error instanceof OperatingError && error.code === 'peer-unreachable';
}

function leaderOf(error: OperatingError): string | null {
  const { leader } = error.facts;
  if (typeof leader !== 'object' || leader === null || !('id' in leader)) return null;
  return typeof leader.id === 'string' ? leader.id : null;
}
