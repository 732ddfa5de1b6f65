/**
 * A disk of a lab's host: an ext4 on a loop device that can lose its power, or a small tmpfs that
 * can be filled up. It is mounted in a namespace of its own, reached by /proc/PID/root, and gone
 * with the process that made it.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';
import { Mounts } from '../conformance/store-faults/mounts.ts';

/** `ext4` can lose its power; a number is the size of a tmpfs, MB. */
export type DiskKind = 'ext4' | number;

const libc = koffi.load('libc.so.6');
const ioctl: (fd: number, request: number, argument: Uint32Array) => number = libc.func(
  'int ioctl(int, ulong, void *)',
);

/** EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h), and "without flushing the journal" (…_NOLOGFLUSH). */
const shutdownRequest = 0x80_04_58_7d;
const withoutFlushing = 2;

const imageBytes = 64 * 1024 * 1024;
const megabyte = 1024 * 1024;
const pageBytes = 4096;

export class Disk implements AsyncDisposable {
  readonly #mounts: Mounts;
  readonly #mountArgs: readonly string[];

  private constructor(mounts: Mounts, mountArgs: readonly string[]) {
    this.#mounts = mounts;
    this.#mountArgs = mountArgs;
    mounts.mount(...mountArgs);
  }

  /** @param image where the bytes of an ext4 lie. */
  static async create(kind: DiskKind, image: string): Promise<Disk> {
    const mounts = await Mounts.create();
    try {
      if (typeof kind === 'number') {
        return new Disk(mounts, ['-t', 'tmpfs', '-o', `size=${kind}m`, 'none']);
      }
      writeFileSync(image, '');
      truncateSync(image, imageBytes);
      execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: ['ignore', 'ignore', 'pipe'] });
      return new Disk(mounts, ['-t', 'ext4', '-o', 'loop', image]);
    } catch (error) {
      await mounts[Symbol.asyncDispose]();
      throw error;
    }
  }

  get path(): string {
    return this.#mounts.path;
  }

  /**
   * What was not synced is gone from this call on, and every later write fails: the file system
   * stops with its journal as it is on the device.
   */
  cutPower(): void {
    const fd = openSync(this.path, 'r');
    try {
      if (ioctl(fd, shutdownRequest, Uint32Array.of(withoutFlushing)) !== 0) {
        throw new Error(`EXT4_IOC_SHUTDOWN: errno ${koffi.errno()}`);
      }
    } finally {
      closeSync(fd);
    }
  }

  /** Mounts what the power cut left; nobody may have it open any more. */
  restorePower(): void {
    this.#mounts.unmount();
    this.#mounts.mount(...this.#mountArgs);
  }

  /** Takes all the room that is left, to the last page. */
  fill(): void {
    mkdirSync(this.#ballast, { recursive: true });
    let bytes = megabyte;
    for (let number = 0; bytes >= pageBytes; number++) {
      try {
        writeFileSync(`${this.#ballast}/${number}`, new Uint8Array(bytes));
      } catch {
        bytes /= 2;
      }
    }
  }

  makeRoom(): void {
    rmSync(this.#ballast, { recursive: true, force: true });
  }

  get #ballast(): string {
    return `${this.path}/ballast`;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#mounts[Symbol.asyncDispose]();
  }
}
