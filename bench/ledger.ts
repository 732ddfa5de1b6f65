/**
 * What a bench has measured so far, written down at once: an interrupted bench goes on where it
 * was, as long as the program is the same, and unless FRESH is set.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

interface Kept<T> {
  readonly program: string;
  readonly results: readonly T[];
}

export class Ledger<T> {
  readonly #file: URL;
  readonly #program: string;
  readonly #entries: T[];

  /** @param name of the bench, and of its file in `bench/results/` */
  constructor(name: string) {
    const folder = new URL('results/', import.meta.url);
    mkdirSync(folder, { recursive: true });
    this.#file = new URL(`${name}.json`, folder);
    // The names of the bundles contain their hashes: what another program has measured counts not.
    const built = readdirSync(new URL('../dist/', import.meta.url));
    this.#program = built.sort().join();
    if (process.env.FRESH !== undefined) rmSync(this.#file, { force: true });
    this.#entries = this.#earlier();
  }

  get entries(): readonly T[] {
    return this.#entries;
  }

  add(entry: T): void {
    this.#entries.push(entry);
    const kept: Kept<T> = { program: this.#program, results: this.#entries };
    writeFileSync(this.#file, `${JSON.stringify(kept, null, 2)}\n`);
  }

  #earlier(): T[] {
    if (!existsSync(this.#file)) return [];
    const kept = JSON.parse(readFileSync(this.#file, 'utf8')) as Partial<Kept<T>>;
    return kept.program === this.#program ? [...(kept.results ?? [])] : [];
  }
}
