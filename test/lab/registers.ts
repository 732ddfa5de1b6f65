/**
 * Writes at full speed whose every acknowledgement is remembered, and the proof that none of them
 * was lost. Each writer counts in a number of its own; all of them stand in one field of the spec
 * that changes nothing (the query of a health check's path), and each write is accepted only on the
 * revision that its writer had read.
 */
import assert from 'node:assert/strict';
import { systemClock } from '../../src/base/clock.ts';
import { errorCode } from '../../src/base/errors.ts';
import type { Operations, SpecDocument } from '../../src/cluster/operations.ts';
import { type AdminConnection, connectAdmin } from '../../src/rpc/admin-client.ts';
import { lasting, until } from './clock.ts';
import type { Host } from './host.ts';

const writers = 3;
/** Between two tries while nobody answers. */
const pauseMs = 50;
const answerMs = 5_000;

interface Writer {
  readonly name: string;
  /** The newest number that was tried. */
  tried: number;
  /** The newest that was acknowledged. */
  acknowledged: number;
}

/** As much of the document as matters here. */
interface Document {
  readonly spec: { readonly frontends: readonly { readonly healthCheck: { path: string } }[] };
}

export class Registers {
  readonly #writers: readonly Writer[] = Array.from({ length: writers }, (_, number) => {
    return { name: `w${number}`, tried: 0, acknowledged: 0 };
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

  /** Asserts that the cluster knows what it acknowledged, and nothing that nobody wrote. */
  async verify(host: Host): Promise<void> {
    const agent = await connect(host);
    try {
      const look = { timeoutMs: answerMs, what: 'the spec' };
      const { numbers } = parse(await until(() => agent.getSpec({ local: false }), look));
      for (const { name, tried, acknowledged } of this.#writers) {
        const found = Number(numbers.get(name) ?? 0);
        const story = `${name} is at ${found}, was acknowledged ${acknowledged}, tried ${tried}`;
        assert.ok(found >= acknowledged && found <= tried, story);
      }
    } finally {
      agent.close();
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
    const { document, healthCheck, numbers } = parse(await agent.getSpec({ local: true }));
    const number = ++writer.tried;
    numbers.set(writer.name, `${number}`);
    healthCheck.path = `/readyz?${numbers}`;
    try {
      await agent.applySpec({ document, dryRun: false, yes: false });
    } catch (error) {
      if (errorCode(error) !== 'stale-revision') throw error;
      // Another writer was quicker.
      return;
    }
    writer.acknowledged = number;
    this.#acknowledged += 1;
  }
}

function parse(specDocument: SpecDocument) {
  const document = structuredClone(specDocument) as unknown as Document;
  const [frontend] = document.spec.frontends;
  assert.ok(frontend !== undefined);
  const { healthCheck } = frontend;
  const [, query = ''] = healthCheck.path.split('?');
  return { document, healthCheck, numbers: new URLSearchParams(query) };
}

function connect(host: Host): Promise<AdminConnection> {
  const socketPath = `${host.dataDir}/agent.sock`;
  return connectAdmin({ socketPath, clock: systemClock(), timeoutMs: answerMs });
}
