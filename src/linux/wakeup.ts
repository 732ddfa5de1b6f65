/** Wakes a thread that sleeps in the kernel: a descriptor that is readable once it was rung. */
import { check, closeFd, eventCounter, readBytes, writeBytes } from './libc.ts';

/** sys/eventfd.h: EFD_NONBLOCK | EFD_CLOEXEC */
const FLAGS = 0x800 | 0x80000;
const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);

export class Wakeup {
  readonly fd: number;
  readonly #drain = new Uint8Array(8);

  /** @param fd of a wake-up that another thread made; none for a new one. */
  constructor(fd?: number) {
    this.fd = fd ?? check(eventCounter(0, FLAGS), 'create an event counter');
  }

  /** May be called from any thread, and more often than the other one looks. */
  ring(): void {
    writeBytes(this.fd, ONE, ONE.length);
  }

  clear(): void {
    readBytes(this.fd, this.#drain, this.#drain.length);
  }

  close(): void {
    closeFd(this.fd);
  }
}
