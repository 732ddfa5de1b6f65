/**
 * Looks at the host for `doctor`: what it could do, what others have put there. Nothing is changed
 * and nothing is turned back; what is loaded to see whether it loads is gone with this process.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { basename } from 'node:path';
import { describeError, errorCode } from '../base/errors.ts';
import type { VipPlacement } from '../vip/ports.ts';
import { queryTcx, Tcx } from './bpf.ts';
import { EbpfFence } from './ebpf-fence.ts';
import { isOurProgram } from './fence-removal.ts';
import { adjustTime, interfaceIndex } from './libc.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { nftInterface, TABLE } from './nft.ts';
import { takeNormalPriority, takeRealTimePriority } from './priority.ts';
import { NETLINK_ROUTE } from './rtnetlink.ts';

/** What is looked for, or why it was not found. */
export type Looked<T> = { readonly value: T } | { readonly unknown: string };

/** nft(8) may have a very large ruleset before it; `doctor` does not wait for it. */
const NFT_TIMEOUT_MS = 150;
/** adjtimex(2): the clock is not synchronised. */
const TIME_ERROR = 5;
const TIMEX_BYTES = 208;
/** include/net/tcp_states.h */
const TCP_LISTEN = '0A';

function look<T>(action: () => T): Looked<T> {
  try {
    return { value: action() };
  } catch (error) {
    return { unknown: describeError(error) };
  }
}

async function lookLong<T>(action: () => Promise<T>): Promise<Looked<T>> {
  try {
    return { value: await action() };
  } catch (error) {
    return { unknown: describeError(error) };
  }
}

/** Loads the eBPF fence and puts it nowhere. */
export function probeEbpf(): Looked<{ readonly tcx: boolean }> {
  return look(() => {
    new EbpfFence();
    return { tcx: queryTcx(interfaceIndex('lo'), Tcx.ingress) !== null };
  });
}

/** Has the kernel check rules like the fence's, in both directions, without keeping them. */
export function probeNft(): Promise<Looked<true>> {
  return lookLong(async () => {
    const link = nftInterface('lo');
    const chains = ['ingress', 'egress'].map(
      (hook) => `chain ${hook} { type filter hook ${hook} device ${link} priority -500; }`,
    );
    await runNft(['-c', '-f', '-'], `table netdev holdfast_doctor {\n${chains.join('\n')}\n}\n`);
    return true as const;
  });
}

/** Takes real-time priority and gives it back at once. */
export function probeRealTime(): Looked<true> {
  const granted = takeRealTimePriority();
  if (!granted.ok) return { unknown: granted.reason };
  takeNormalPriority();
  return { value: true };
}

/** RLIMIT_MEMLOCK of this process in bytes; null for none. */
export function lockableBytes(): Looked<number | null> {
  return look(() => {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? '0';
    return soft === 'unlimited' ? null : Number(soft);
  });
}

export function kernelRelease(): string {
  return release();
}

/** Whether the kernel counts its clock as synchronised by a time daemon (adjtimex(2)). */
export function clockSynchronised(): Looked<boolean> {
  return look(() => {
    const state = adjustTime(Buffer.alloc(TIMEX_BYTES));
    if (state < 0) throw new Error('the kernel does not tell of its clock');
    return state !== TIME_ERROR;
  });
}

/** A number below /proc/sys, by its dotted name; null where this kernel has none. */
export function sysctl(name: readonly string[]): number | null {
  try {
    return Number(readFileSync(`/proc/sys/${name.join('/')}`, 'utf8').trim());
  } catch {
    return null;
  }
}

/** The stronger of `all` and the link's own, as the kernel takes them. */
export function linkSysctl(family: 'ipv4' | 'ipv6', link: string, name: string): number {
  const own = sysctl(['net', family, 'conf', link, name]) ?? 0;
  // For IPv6, `all` is a switch that was thrown once and not a rule.
  if (family === 'ipv6') return own;
  return Math.max(own, sysctl(['net', family, 'conf', 'all', name]) ?? 0);
}

export interface Listener {
  readonly port: number;
  /** As text; `0.0.0.0` and `::` for all. */
  readonly address: string;
  /** The program's name; null where this user may not know. */
  readonly program: string | null;
}

/** Who listens on any of `ports` by TCP in this network namespace. */
export function listenersOn(ports: readonly number[]): readonly Listener[] {
  const found = ['tcp', 'tcp6'].flatMap((table) => listeningSockets(table, ports));
  if (found.length === 0) return [];
  const programs = programsOf(new Set(found.map(({ inode }) => inode)));
  return found.map(({ port, address, inode }) => ({
    port,
    address,
    program: programs.get(inode) ?? null,
  }));
}

interface ListeningSocket {
  readonly port: number;
  readonly address: string;
  readonly inode: string;
}

function listeningSockets(table: string, ports: readonly number[]): ListeningSocket[] {
  let text: string;
  try {
    text = readFileSync(`/proc/self/net/${table}`, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    const [hex = '', portHex = ''] = local.split(':');
    const port = Number.parseInt(portHex, 16);
    if (state !== TCP_LISTEN || !ports.includes(port)) return [];
    return [{ port, address: addressText(hex), inode }];
  });
}

/** The kernel prints words in its own byte order. */
function addressText(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => [...Buffer.from(word, 'hex')].reverse());
  if (bytes.every((byte) => byte === 0)) return bytes.length === 4 ? '0.0.0.0' : '::';
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** Names of the programs that have one of these sockets. */
function programsOf(inodes: ReadonlySet<string>): ReadonlyMap<string, string> {
  const programs = new Map<string, string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (programs.size === inodes.size) break;
    for (const target of descriptorsOf(pid)) {
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      programs.set(inode, programName(pid));
    }
  }
  return programs;
}

/** What a process has open; nothing where it has ended or belongs to somebody else. */
function descriptorsOf(pid: string): string[] {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).map((fd) => readlinkSync(`${folder}/${fd}`));
  } catch {
    return [];
  }
}

/** By its file, because a thread may call itself as it likes. */
function programName(pid: string): string {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ''));
  } catch {
    return 'a program that has ended';
  }
}

/** Which of the programs `names` run in this network namespace. */
export function running(names: readonly string[]): readonly string[] {
  const here = readlinkSync('/proc/self/ns/net');
  const found = new Set<string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const name = names.find((each) => each === programName(pid));
    if (name === undefined) continue;
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) === here) found.add(name);
    } catch {
      // It has ended.
    }
  }
  return [...found];
}

export interface BaseChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook: string;
  readonly policy: string;
}

/** The base chains of nftables that are not ours. */
export function foreignChains(): Promise<Looked<readonly BaseChain[]>> {
  return lookLong(async () => {
    const { nftables } = JSON.parse(await runNft(['-j', 'list', 'chains'])) as {
      nftables: readonly { chain?: Partial<BaseChain> & { policy?: string } }[];
    };
    return nftables.flatMap(({ chain }) => {
      if (chain?.hook === undefined || isOurs(chain.table ?? '')) return [];
      const { family = '', table = '', name = '', hook, policy = 'accept' } = chain;
      return [{ family, table, name, hook, policy }];
    });
  });
}

/** How many TCX programs of others there are on each VIP's interface. */
export function foreignPrograms(
  vips: readonly VipPlacement[],
): Looked<readonly { readonly interface: string; readonly count: number }[]> {
  return look(() => {
    const socket = new NetlinkSocket(NETLINK_ROUTE);
    try {
      return [...new Set(vips.map((vip) => vip.interface))].map((name) => ({
        interface: name,
        count: foreignOn(socket, interfaceIndex(name)),
      }));
    } finally {
      socket.close();
    }
  });
}

function foreignOn(socket: NetlinkSocket, index: number): number {
  return (['ingress', 'egress'] as const).reduce((count, direction) => {
    const ids = queryTcx(index, Tcx[direction])?.ids ?? [];
    return count + ids.filter((id) => !isOurProgram(socket, { index, direction }, id)).length;
  }, 0);
}

/** All of our tables, for whatever purpose, begin alike. */
function isOurs(table: string): boolean {
  return table === TABLE || table.startsWith(`${TABLE}_`);
}

function runNft(args: readonly string[], input = ''): Promise<string> {
  const options = { timeout: NFT_TIMEOUT_MS, encoding: 'utf8' } as const;
  return new Promise((resolve, reject) => {
    const child = execFile('nft', [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(whyNft(error, stderr)));
    });
    // The process may be gone before it has read everything; its exit tells why.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

function whyNft(error: Error & { readonly killed?: boolean }, stderr: string): string {
  if (errorCode(error) === 'ENOENT') return 'the program nft is not installed';
  if (error.killed === true) return 'nft takes long: the ruleset is large';
  return stderr.trim().split('\n')[0] || 'nft refused';
}
