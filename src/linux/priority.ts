/**
 * Scheduling: the thread that renews the lease may run before everything else on the host, and what
 * it starts must not. `SCHED_RESET_ON_FORK` sees to that for threads and processes alike, so that
 * file access and compilation of this process stay ordinary.
 *
 * V8 must collect garbage on the main thread alone ({@link OWN_GARBAGE}). Else its main thread asks
 * again and again, without a pause, whether the marking threads are done; and these never are while
 * a real-time thread takes their processor. On a busy host that held every ordinary program still
 * until the kernel's throttle ended it, for 0.95 s out of each second.
 */
import { readdirSync } from 'node:fs';
import { Errno, KernelError, lastErrno, lockAllMemory, setScheduler } from './libc.ts';

/** sched.h */
const SCHED_OTHER = 0;
const SCHED_RR = 2;
const SCHED_RESET_ON_FORK = 0x40000000;
/** Above all ordinary work; below the kernel's own threads (50), which carry our frames. */
const PRIORITY = 10;

/** sys/mman.h */
const MCL_CURRENT = 1;
const MCL_FUTURE = 2;

/** The flag of V8 that the launcher gives. */
const OWN_GARBAGE = '--single-threaded-gc';

export type Granted = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Gives the main thread real-time priority, where the host and the way it was started allow it. */
export function takeRealTimePriority(): Granted {
  if (!process.execArgv.includes(OWN_GARBAGE)) {
    return { ok: false, reason: `Node was started without ${OWN_GARBAGE}; use bin/holdfast` };
  }
  const policy = SCHED_RR | SCHED_RESET_ON_FORK;
  return granted(setScheduler(process.pid, policy, Int32Array.of(PRIORITY)), 'real-time priority');
}

/** Keeps all memory of this process from being paged out, where the host allows it. */
export function lockMemory(): Granted {
  return granted(lockAllMemory(MCL_CURRENT | MCL_FUTURE), 'locked memory');
}

/** Puts every thread of this process back to ordinary priority, whatever it inherited. */
export function takeNormalPriority(): Granted {
  for (const thread of readdirSync('/proc/self/task')) {
    const result = granted(
      setScheduler(Number(thread), SCHED_OTHER, Int32Array.of(0)),
      'normal priority',
    );
    if (!result.ok) return result;
  }
  return { ok: true };
}

function granted(result: number, what: string): Granted {
  if (result === 0) return { ok: true };
  const errno = lastErrno();
  const { message } = new KernelError(`no ${what}`, errno);
  if (errno !== Errno.EPERM) return { ok: false, reason: message };
  return { ok: false, reason: `${message} (the host or the unit does not allow it)` };
}
