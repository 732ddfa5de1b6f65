/** Numbers and byte strings as LevelDB writes them into files of its own: varints, length first. */
import { dataCorrupt } from './refusals.ts';

export class VarintReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** @throws OperatingError `data-corrupt` where the bytes end within it. */
  number(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw endsEarly();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  /** @throws OperatingError `data-corrupt` */
  skip(length: number): void {
    this.#at += length;
    if (this.#at > this.#bytes.length) throw endsEarly();
  }

  /** @throws OperatingError `data-corrupt` */
  skipBytes(): void {
    this.skip(this.number());
  }
}

function endsEarly(): Error {
  return dataCorrupt('one of its indexes ends within a field');
}
