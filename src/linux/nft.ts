/**
 * The nft(8) binary: a script on its standard input is one transaction, all or nothing. The binary
 * and not netlink, because a ruleset as text is what a person will compare with `nft list ruleset`.
 */
import { execFile, spawnSync } from 'node:child_process';
import { assert } from '../base/assert.ts';
import { errorCode, OperatingError } from '../base/errors.ts';
import { Errno, unless } from './libc.ts';
import { attribute, cString, decodeAttributes, fromCString } from './netlink-message.ts';
import { NetlinkSocket } from './netlink-socket.ts';

/** All tables of ours, in whatever family, bear this name. */
export const TABLE = 'holdfast';

/** Longest that a transaction may take before it counts as failed. */
const TIMEOUT_MS = 10_000;

export const NETLINK_NETFILTER = 12;
/** linux/netfilter/nfnetlink.h, nf_tables.h */
const NFT_MSG_GETTABLE = (10 << 8) | 1;
const NFT_MSG_GETSETELEM = (10 << 8) | 13;
const NFT_MSG_GETRULE = (10 << 8) | 7;
const NFT_MSG_GETGEN = (10 << 8) | 16;
const NFT_MSG_GETOBJ = (10 << 8) | 19;
const NFTA_GEN_ID = 1;
const NFTA_RULE_TABLE = 1;
const NFTA_TABLE_NAME = 1;
const NFTA_OBJ_TABLE = 1;
const NFTA_OBJ_NAME = 2;
const NFTA_OBJ_TYPE = 3;
const NFTA_OBJ_DATA = 4;
const NFT_OBJECT_COUNTER = 1;
const NFTA_COUNTER_PACKETS = 2;
const NFTA_LIST_TABLE = 1;
const NFTA_LIST_SET = 2;
const NFTA_LIST_ELEMENTS = 3;
/** linux/netfilter.h */
export const NftFamily = { inet: 1, ip: 2, arp: 3, netdev: 5 } as const;
export type NftFamily = keyof typeof NftFamily;

const OPTIONS = { timeout: TIMEOUT_MS, encoding: 'utf8' } as const;

/** Runs `script` and waits; for the moments when nothing may go on before it is in force. */
export function nftSync(script: string): void {
  const { error, status, stderr } = spawnSync('nft', ['-f', '-'], { ...OPTIONS, input: script });
  if (error !== undefined) throw failure(error, '');
  if (status !== 0) throw failure(undefined, stderr);
}

/** Runs `script`; resolves when it is in force. */
export function nft(script: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile('nft', ['-f', '-'], OPTIONS, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(failure(error, stderr));
    });
    // The process may be gone before it has read everything; its exit tells why.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(script);
  });
}

/** A script that leaves exactly `body` in our table, whatever was in it before. */
export function replaceTable(family: NftFamily, body: string, name = TABLE): string {
  return `${removeTable(family, name)}table ${family} ${name} {\n${body}}\n`;
}

/** A script that removes our table, whether or not it is there. */
export function removeTable(family: NftFamily, name = TABLE): string {
  return `add table ${family} ${name}\ndelete table ${family} ${name}\n`;
}

/** An interface's name as a string of nft's language. */
export function nftInterface(name: string): string {
  assert(/^[^\s/"\\*]{1,15}$/.test(name), `interface name ${JSON.stringify(name)} is not usable`);
  return `"${name}"`;
}

/** Whether a table of ours is there; asks the kernel, without the binary. */
export function tableExists(family: NftFamily, name = TABLE): boolean {
  const socket = new NetlinkSocket(NETLINK_NETFILTER);
  try {
    return hasTable(socket, family, name);
  } finally {
    socket.close();
  }
}

/** As {@link tableExists}, by a netfilter socket of the caller's: for those who ask often. */
export function hasTable(socket: NetlinkSocket, family: NftFamily, name = TABLE): boolean {
  // struct nfgenmsg: family, version, resource id.
  const header = Uint8Array.of(NftFamily[family], 0, 0, 0);
  const payload = Buffer.concat([header, attribute(NFTA_TABLE_NAME, cString(name))]);
  // EOPNOTSUPP and EINVAL: a kernel without nftables has no table either.
  const absent = [Errno.ENOENT, Errno.EINVAL, Errno.EOPNOTSUPP];
  const what = `look for the nft table ${family} ${name}`;
  return unless(absent, () => socket.acknowledge({ type: NFT_MSG_GETTABLE, payload, what }));
}

/**
 * The number of the ruleset as it is now: every transaction of anybody's in this namespace makes it
 * another one.
 */
export function rulesetNumber(socket: NetlinkSocket): number {
  const payload = Uint8Array.of(0, 0, 0, 0);
  const what = 'ask for the number of the ruleset';
  const answer = socket.ask({ type: NFT_MSG_GETGEN, payload, what });
  const attributes = decodeAttributes((answer?.payload ?? Buffer.alloc(4)).subarray(4));
  return attributes.get(NFTA_GEN_ID)?.readUInt32BE(0) ?? 0;
}

/** How many rules a table holds. */
export function countRules(socket: NetlinkSocket, family: NftFamily, name: string): number {
  const payload = Buffer.concat([
    Uint8Array.of(NftFamily[family], 0, 0, 0),
    attribute(NFTA_RULE_TABLE, cString(name)),
  ]);
  return socket.dump({ type: NFT_MSG_GETRULE, payload, what: `list the rules of ${name}` }).length;
}

/** What the named counters of a table have counted: packets by name. */
export async function readCounters(
  socket: NetlinkSocket,
  family: NftFamily,
  table: string,
): Promise<ReadonlyMap<string, number>> {
  const type = Buffer.alloc(4);
  type.writeUInt32BE(NFT_OBJECT_COUNTER);
  const payload = Buffer.concat([
    Uint8Array.of(NftFamily[family], 0, 0, 0),
    attribute(NFTA_OBJ_TABLE, cString(table)),
    attribute(NFTA_OBJ_TYPE, type),
  ]);
  const counters = new Map<string, number>();
  const what = `read the counters of ${table}`;
  await socket.dumpInTurns({ type: NFT_MSG_GETOBJ, payload, what }, (message) => {
    const attributes = decodeAttributes(message.payload.subarray(4));
    const [name, data] = [attributes.get(NFTA_OBJ_NAME), attributes.get(NFTA_OBJ_DATA)];
    if (name === undefined || data === undefined) return;
    const packets = decodeAttributes(data).get(NFTA_COUNTER_PACKETS);
    if (packets === undefined || packets.length < 8) return;
    counters.set(fromCString(name), Number(packets.readBigUInt64BE(0)));
  });
  return counters;
}

/**
 * Whether a set of our table of this family has no element, or is not there; asks the kernel,
 * without the binary.
 */
export function setIsEmpty(family: NftFamily, set: string, table = TABLE): boolean {
  const socket = new NetlinkSocket(NETLINK_NETFILTER);
  try {
    const payload = Buffer.concat([
      Uint8Array.of(NftFamily[family], 0, 0, 0),
      attribute(NFTA_LIST_TABLE, cString(table)),
      attribute(NFTA_LIST_SET, cString(set)),
    ]);
    const what = `look into the nft set ${set}`;
    let empty = true;
    // Somebody may have flushed the whole ruleset: what is not there holds nothing.
    unless([Errno.ENOENT], () => {
      const messages = socket.dump({ type: NFT_MSG_GETSETELEM, payload, what });
      empty = messages.every((message) => {
        const attributes = decodeAttributes(message.payload.subarray(4));
        return (attributes.get(NFTA_LIST_ELEMENTS)?.length ?? 0) === 0;
      });
    });
    return empty;
  } finally {
    socket.close();
  }
}

function failure(error: Error | undefined, stderr: string): OperatingError {
  if (errorCode(error) === 'ENOENT') {
    return new OperatingError({
      code: 'nft-missing',
      message: 'the program nft is not installed',
      hint: 'install the package nftables',
      cause: error,
    });
  }
  const [firstLine = ''] = stderr.trim().split('\n');
  return new OperatingError({
    code: 'nft-failed',
    message: `nft refused a ruleset: ${firstLine === '' ? (error?.message ?? '') : firstLine}`,
    facts: { stderr },
    cause: error,
  });
}
