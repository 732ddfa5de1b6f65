/** Facts of the host itself → checks: the fences, rights, kernel, clock and disk. Pure. */
import { type Check, fail, ok, warn } from './check.ts';
import type { DoctorFacts, Found } from './facts.ts';

const MIB = 1024 * 1024;
const DISK_FAIL_BYTES = 64 * MIB;
const DISK_WARN_BYTES = 512 * MIB;
/** A vote and the first entry of a term are two of these in a row. */
const FSYNC_WARN_MS = 20;
const FSYNC_FAIL_MS = 500;
/** What the agent needs in memory, with room for its heap. */
const LOCK_WANTED_BYTES = 256 * MIB;
/** Ethernet hooks in both directions for nftables; the eBPF fence needs less. */
const KERNEL_WANTED = [5, 16] as const;
/** TCX. */
const KERNEL_BEST = [6, 6] as const;
/** A clock before this was never set: no certificate of ours is older. */
const FIRST_WALL_MS = Date.UTC(2024, 0, 1);

export function hostChecks(facts: DoctorFacts): readonly Check[] {
  return [
    ...fenceChecks(facts),
    capabilities(facts),
    realTime(facts),
    memoryLock(facts),
    kernel(facts),
    clock(facts),
    ...disk(facts),
  ];
}

function fenceChecks({ fences, unit, isRoot }: DoctorFacts): readonly Check[] {
  const both = 'value' in fences.ebpf && 'value' in fences.nft;
  const asRoot = isRoot ? '' : 'run doctor as root to be sure; ';
  const ebpf =
    'value' in fences.ebpf
      ? ok(
          'fence-ebpf',
          fences.ebpf.value.tcx
            ? 'the eBPF fence loads, at the head of TCX and in clsact'
            : 'the eBPF fence loads, in clsact alone (TCX needs Linux 6.6)',
        )
      : warn(
          'fence-ebpf',
          `no eBPF fence (${fences.ebpf.unknown}): nftables guards alone`,
          `${asRoot}give the agent CAP_BPF and the bpf system call`,
        );
  const nft =
    'value' in fences.nft
      ? ok('fence-nft', both ? 'the nftables fence stands beside it' : 'the nftables fence works')
      : fail(
          'fence-nft',
          `no nftables fence (${fences.nft.unknown})`,
          `${asRoot}install nftables, and use Linux 5.16 or newer`,
        );
  const behind = [
    ok('fence-lifetime', 'the address goes by itself, seconds after the agent'),
    unitLine('fence-watchdog', unit, /^WatchdogSec=/m, 'systemd restarts an agent that hangs'),
    unitLine(
      'fence-exec-stop-post',
      unit,
      /^ExecStopPost=.*cleanup/m,
      'systemd cleans up after it',
    ),
  ];
  return [ebpf, nft, ...behind];
}

function unitLine(name: string, unit: DoctorFacts['unit'], line: RegExp, good: string): Check {
  const there = unit !== null && line.test(unit.text);
  if (there) return ok(name, good);
  const what = unit === null ? 'the unit is not installed' : `${unit.path} lacks it`;
  return warn(name, what, 'install the unit that comes with Holdfast');
}

function capabilities({ missingCapabilities, isRoot }: DoctorFacts): Check {
  const name = 'capabilities';
  if (missingCapabilities.length === 0) return ok(name, 'NET_ADMIN, NET_RAW and BPF are there');
  const message = `${missingCapabilities.join(', ')} missing`;
  if (!isRoot) return warn(name, `${message} for this user`, 'run doctor as root');
  return fail(name, message, 'the container or unit withholds them: add them to its set');
}

function realTime({ realTime: found }: DoctorFacts): Check {
  if ('value' in found) return ok('real-time', 'the agent may run before everything else');
  const hint = 'set LimitRTPRIO=20 in the unit; without it a busy host may cost the lease';
  return warn('real-time', found.unknown, hint);
}

function memoryLock({ lockableBytes }: DoctorFacts): Check {
  const name = 'memory-lock';
  if ('unknown' in lockableBytes) return warn(name, lockableBytes.unknown, 'look at ulimit -l');
  const { value } = lockableBytes;
  if (value === null) return ok(name, 'memory may be locked without limit');
  if (value >= LOCK_WANTED_BYTES) return ok(name, `${mib(value)} may be locked`);
  return warn(name, `only ${mib(value)} may be locked`, 'set LimitMEMLOCK=infinity in the unit');
}

function kernel({ kernelRelease }: DoctorFacts): Check {
  const [major = 0, minor = 0] = kernelRelease.split(/[.-]/).map(Number);
  const since = ([wantedMajor, wantedMinor]: readonly [number, number]): boolean =>
    major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  const message = `Linux ${kernelRelease}`;
  if (since(KERNEL_BEST)) return ok('kernel', `${message} has all that is used`);
  if (since(KERNEL_WANTED)) return ok('kernel', `${message} has all but TCX (6.6)`);
  return warn('kernel', `${message} has no nftables hook on egress`, 'use Linux 5.16 or newer');
}

function clock({ clockSynchronised, wallNowMs }: DoctorFacts): Check {
  const name = 'clock';
  if (wallNowMs < FIRST_WALL_MS) {
    const now = new Date(wallNowMs).toISOString();
    return fail(name, `the clock says ${now}`, 'set it: certificates are refused until then');
  }
  if ('unknown' in clockSynchronised) {
    return warn(name, clockSynchronised.unknown, 'see that a time daemon runs');
  }
  if (clockSynchronised.value) return ok(name, 'the clock is synchronised');
  const hint = 'start chrony or systemd-timesyncd: certificates and logs depend on it';
  return warn(name, 'nobody synchronises the clock', hint);
}

function disk({ disk: found, isRoot }: DoctorFacts): readonly Check[] {
  if ('unknown' in found) {
    if (!isRoot) return [warn('disk-space', found.unknown, 'run doctor as root')];
    return [fail('disk-space', found.unknown, 'the data directory must be writable')];
  }
  const { path, freeBytes, fsyncMs } = found.value;
  const free = `${mib(freeBytes)} free at ${path}`;
  const space =
    freeBytes < DISK_FAIL_BYTES
      ? fail('disk-space', free, 'make room: a full disk cannot take part in elections')
      : freeBytes < DISK_WARN_BYTES
        ? warn('disk-space', free, 'make room before it runs out')
        : ok('disk-space', free);
  const took = `fdatasync takes ${fsyncMs.median.toFixed(1)} ms, ${fsyncMs.max.toFixed(1)} at most`;
  const slow = 'move the data directory to a faster disk: elections and writes wait for it';
  const sync =
    fsyncMs.median > FSYNC_FAIL_MS
      ? fail('disk-sync', took, slow)
      : fsyncMs.median > FSYNC_WARN_MS
        ? warn('disk-sync', took, slow)
        : ok('disk-sync', took);
  return [space, sync];
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}

/** The value, or null where it is not known. */
export function known<T>(found: Found<T>): T | null {
  return 'value' in found ? found.value : null;
}
