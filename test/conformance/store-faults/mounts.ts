/**
 * File systems for one test, in a mount namespace of their own that ends with it. The test reaches
 * into it by /proc/PID/root, so nothing of it is ever mounted where others see it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

export class Mounts implements AsyncDisposable {
  readonly #keeper: ChildProcess;
  readonly #mountPoint: string;

  private constructor(keeper: ChildProcess, mountPoint: string) {
    this.#keeper = keeper;
    this.#mountPoint = mountPoint;
  }

  static async create(): Promise<Mounts> {
    assert.equal(process.getuid?.(), 0, 'this test mounts file systems and needs root');
    const mountPoint = mkdtempSync(`${tmpdir()}/holdfast-mounts-`);
    // It lives for as long as its standard input is open, so not longer than this process.
    const keeper = spawn('unshare', ['--mount', 'sh', '-c', 'echo ready; exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(keeper.stdout, 'data');
    return new Mounts(keeper, mountPoint);
  }

  /** Where this process finds what is mounted. */
  get path(): string {
    return `/proc/${this.#keeper.pid}/root${this.#mountPoint}`;
  }

  /** `mount ARGS… MOUNTPOINT` in there. */
  mount(...args: readonly string[]): void {
    this.#run('mount', ...args, this.#mountPoint);
  }

  unmount(): void {
    this.#run('umount', this.#mountPoint);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#keeper, 'exit');
    this.#keeper.stdin?.end();
    await ended;
    rmSync(this.#mountPoint, { recursive: true });
  }

  #run(program: string, ...args: readonly string[]): void {
    const target = ['--target', String(this.#keeper.pid), '--mount'];
    execFileSync('nsenter', [...target, program, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  }
}
