/** Writes that go on while members come and go, and the proof that none of them was lost. */
import assert from 'node:assert/strict';
import { lasting, until } from './clock.ts';
import type { Cluster } from './cluster.ts';

/** Often enough to fall into every change, seldom enough to leave the machine to the others. */
const pauseMs = 30;

interface CreatedToken {
  readonly id: string;
}

/** Two writers that create tokens, one after the other, on whichever hosts run. */
export class Writes implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #acknowledged: string[] = [];
  #stopped = false;
  #loop: Promise<unknown> = Promise.resolve();

  private constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  static start(cluster: Cluster): Writes {
    const writes = new Writes(cluster);
    writes.#loop = Promise.all([writes.#write(0), writes.#write(1)]);
    return writes;
  }

  /** Stops, and asserts that everything that was acknowledged is there. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
    const known = await until(() => this.#list(), { timeoutMs: 5_000, what: 'a list of tokens' });
    const lost = this.#acknowledged.filter((id) => !known.includes(id));
    assert.deepEqual(lost, [], `of ${this.#acknowledged.length} acknowledged writes`);
    assert.ok(this.#acknowledged.length > 1, 'the writes went on');
  }

  /** Stops, also where the scenario has failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #write(first: number): Promise<void> {
    for (let turn = first; !this.#stopped; turn++) {
      const hosts = this.#cluster.running();
      const host = hosts[turn % hosts.length];
      const outcome = await host?.cli(['token', 'create', '-o', 'json']);
      if (outcome?.code === 0) {
        this.#acknowledged.push((JSON.parse(outcome.stdout) as CreatedToken).id);
      }
      await lasting(pauseMs);
    }
  }

  async #list(): Promise<readonly string[]> {
    const [host] = this.#cluster.running();
    const listed = (await host?.json(['token', 'list'])) as { tokens: readonly CreatedToken[] };
    return listed.tokens.map(({ id }) => id);
  }
}
