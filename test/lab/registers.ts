/**
 * Writes at full speed whose every acknowledgement is remembered, and the proof that none of them
 * was lost. Each writer keeps one number in the cluster, as a token that says it in its
 * description: it makes the token of the next number, and then revokes the one before.
 */
import assert from 'node:assert/strict';
import { systemClock } from '../../src/base/clock.ts';
import type { Operations, TokenInfo } from '../../src/cluster/operations.ts';
import { type AdminConnection, connectAdmin } from '../../src/rpc/admin-client.ts';
import { lasting, until } from './clock.ts';
import type { Host } from './host.ts';

const writers = 6;
const ttlMs = 24 * 3_600_000;
/** Between two tries while nobody answers. */
const pauseMs = 50;
const answerMs = 5_000;

interface Register {
  readonly number: number;
  readonly id: string;
}

interface Writer {
  readonly name: string;
  /** The newest number that was tried. */
  tried: number;
  /** The newest that was acknowledged. */
  made: Register | null;
  /** Numbers whose revocation was acknowledged. */
  readonly gone: Set<number>;
}

export class Registers {
  readonly #writers: readonly Writer[] = Array.from({ length: writers }, (_, number) => {
    return { name: `w${number}`, tried: 0, made: null, gone: new Set<number>() };
  });
  #stopping = false;
  #loops: Promise<unknown> = Promise.resolve();
  #acknowledged = 0;

  /** Writes that were acknowledged since the beginning. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Begins to write, through all of `hosts`. */
  start(hosts: readonly Host[]): void {
    this.#stopping = false;
    this.#loops = Promise.all(
      this.#writers.map((writer, number) => this.#write(writer, hosts[number % hosts.length])),
    );
  }

  /** Resolves when no answer can come any more. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#loops;
  }

  /** Asserts that the cluster knows what it acknowledged; leaves one token a writer. */
  async verify(host: Host): Promise<void> {
    const agent = await connect(host);
    try {
      const look = { timeoutMs: answerMs, what: 'a list of tokens' };
      const tokens = await until(() => agent.listTokens(), look);
      for (const writer of this.#writers) await this.#verify(writer, tokens, agent);
    } finally {
      agent.close();
    }
  }

  async #verify(
    { name, made, gone, tried }: Writer,
    tokens: readonly TokenInfo[],
    agent: Operations,
  ): Promise<void> {
    const found = tokens.flatMap(({ id, description }) => {
      const [writer, number] = description.split(' ');
      return writer === name ? [{ id, number: Number(number) }] : [];
    });
    const numbers = found.map(({ number }) => number);
    const has = `${name} has ${numbers}`;
    if (made !== null) assert.ok(numbers.includes(made.number), `${has} and lost ${made.number}`);
    assert.ok(!numbers.some((number) => gone.has(number)), `${has}, and revoked one of them`);
    assert.ok(!numbers.some((number) => number > tried), `${has}, and only tried ${tried}`);
    for (const { id, number } of found) {
      if (number === made?.number) continue;
      await agent.revokeToken(id);
      gone.add(number);
    }
  }

  async #write(writer: Writer, host: Host | undefined): Promise<void> {
    assert.ok(host !== undefined);
    while (!this.#stopping) {
      let agent: AdminConnection | null = null;
      try {
        agent = await connect(host);
        while (!this.#stopping) await this.#next(writer, agent);
      } catch {
        await lasting(pauseMs);
      } finally {
        agent?.close();
      }
    }
  }

  async #next(writer: Writer, agent: Operations): Promise<void> {
    const number = ++writer.tried;
    const description = `${writer.name} ${number}`;
    const { id } = await agent.createToken({ ttlMs, uses: null, description, token: null });
    const former = writer.made;
    writer.made = { number, id };
    this.#acknowledged += 1;
    if (former === null) return;
    await agent.revokeToken(former.id);
    writer.gone.add(former.number);
    this.#acknowledged += 1;
  }
}

function connect(host: Host): Promise<AdminConnection> {
  const socketPath = `${host.dataDir}/agent.sock`;
  return connectAdmin({ socketPath, clock: systemClock(), timeoutMs: answerMs });
}
