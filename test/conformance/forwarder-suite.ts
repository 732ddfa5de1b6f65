/**
 * What every way of forwarding promises, on whatever it is tried: a world with one holder, a few
 * backend hosts with servers that tell who they are and whom they saw, a client, and a pod behind
 * one of the hosts. The same tests run on a fake and on real kernels.
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ForwardBackend, Forwarder, Scheduler } from '../../src/lb/ports.ts';

/**
 * Where a connection begins: at a host that is nothing else, at the holder itself, at a host
 * without a server, at the first backend's host, or in a pod's subnet behind that host.
 */
export type Place = 'client' | 'holder' | 'member' | 'backend' | 'pod';

/** What one connection met: which server answered, and the address that it saw; or an end. */
export type Answer =
  | { readonly server: string; readonly saw: string }
  | { readonly refusedAfterMs: number }
  | { readonly silent: true };

/** An established connection that is kept. */
export interface OpenConnection {
  readonly server: string;
  /** Sends a line and resolves with its echo, or with `reset` where the connection has ended. */
  echo(line: string): Promise<string>;
  /** Ends its own half, and resolves with what the server still said until it ended its half. */
  halfClose(): Promise<string>;
  close(): void;
}

export interface ForwarderWorld {
  readonly forwarder: Forwarder;
  readonly vip: string;
  readonly port: number;
  /** Servers on hosts other than the holder. The first one's host is the place `backend`. */
  readonly remote: readonly ForwardBackend[];
  /** A server on the holder, on every address and on the VIP's own port. */
  readonly local: ForwardBackend;
  /** The VIP comes to the holder, or leaves it; it is there in the beginning. */
  moveVip(here: boolean): Promise<void>;
  /** One connection, from its beginning to its end. */
  ask(from: Place): Promise<Answer>;
  /** Many of them: how many each server answered. */
  tally(from: Place, connections: number): Promise<ReadonlyMap<string, number>>;
  open(from: Place): Promise<OpenConnection>;
  close(): Promise<void>;
}

export interface ForwarderSubject {
  readonly name: string;
  readonly schedulers: readonly Scheduler[];
  create(family: 4 | 6): Promise<ForwarderWorld>;
}

export function forwarderSuite(subject: ForwarderSubject): void {
  for (const family of [4, 6] as const) {
    suite(`${subject.name}, IPv${family}`, () => {
      test('leads a connection to the VIP to a backend', async () => {
        const world = await subject.create(family);
        const { vip: address, port, remote } = world;
        const plan = { name: 'api', address, port, protocol: 'tcp' } as const;
        await world.forwarder.set([{ ...plan, scheduler: 'round-robin', backends: remote }]);

        const answer = await world.ask('client');

        assert.ok('server' in answer, JSON.stringify(answer));
        assert.ok(remote.some(({ name }) => name === answer.server));
        await world.close();
      });
    });
  }
}
