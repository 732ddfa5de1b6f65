/** Wakes a thread that sleeps in the kernel: a descriptor that is readable once it was rung. */
import { check, closeFd, eventCounter, readBytes, writeBytes } from './libc.ts';

/** sys/eventfd.h: EFD_NONBLOCK | EFD_CLOEXEC */
const FLAGS = 0x800 | 0x80000;
const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

/** What another thread makes its own end from. */
export interface WakeupEnds {
  readonly fd: number;
  readonly rung: SharedArrayBuffer;
}

export class Wakeup {
  readonly ends: WakeupEnds;
  /** 1 where somebody rang: to look costs no system call. */
  readonly #rung: Int32Array;
  readonly #drain = new Uint8Array(8);

  /** @param ends of a wake-up that another thread made; none for a new one. */
  constructor(ends?: WakeupEnds) {
    this.ends = ends ?? {
      fd: check(eventCounter(0, FLAGS), 'create an event counter'),
      rung: new SharedArrayBuffer(4),
    };
    this.#rung = new Int32Array(this.ends.rung);
  }

  /** May be called from any thread, and more often than the other one looks. */
  ring(): void {
    this.note();
    writeBytes(this.ends.fd, ONE, ONE.length);
  }

  /** The descriptor is readable. */
  note(): void {
    Atomics.store(this.#rung, 0, 1);
  }

  /**
   * Whether there was a ring since the last call. Whoever rings says first what is to be heard, so
   * that it is there by now; a ring that falls into this call is told once more.
   */
  rang(): boolean {
    if (Atomics.exchange(this.#rung, 0, 0) === 0) return false;
    readBytes(this.ends.fd, this.#drain, this.#drain.length);
    return true;
  }

  close(): void {
    closeFd(this.ends.fd);
  }
}
