/**
 * bpf(2) as far as the fence uses it: maps, one kind of program, and its place in the TCX chain of
 * an interface. Structures are `union bpf_attr` of linux/bpf.h, written by hand.
 */
import { OperatingError } from '../base/errors.ts';
import { addressOf, check, closeFd, Errno, KernelError, syscallBpf, unless } from './libc.ts';

/** bpf(2) has a number of its own on each architecture. */
const SYSCALL_NUMBERS: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };

const Command = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  programLoad: 5,
  programAttach: 8,
  programDetach: 9,
  programFromId: 13,
  objectInfo: 15,
  programQuery: 16,
} as const;

export const MapType = { hash: 1, array: 2 } as const;

const PROGRAM_TYPE_SCHED_CLS = 3;
const TCX_INGRESS = 46;
const TCX_EGRESS = 47;
const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;
const BPF_F_ID = 1 << 5;
const NAME_BYTES = 15;
/** Programs listed per interface and direction; the kernel itself allows 64. */
const CHAIN_MAX = 64;
/** Far more signals in a row than meet a load that takes a few milliseconds. */
const LOAD_ATTEMPTS = 50;
const VERIFIER_LOG_BYTES = 64 * 1024;

export type TcxHook = typeof TCX_INGRESS | typeof TCX_EGRESS;
export const Tcx = { ingress: TCX_INGRESS, egress: TCX_EGRESS } as const;

export interface MapShape {
  readonly type: (typeof MapType)[keyof typeof MapType];
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
  readonly name: string;
}

/**
 * Creates a map and returns its descriptor; the map lives while a descriptor or program uses it.
 */
export function createMap(shape: MapShape): number {
  const attributes = Buffer.alloc(48);
  attributes.writeUInt32LE(shape.type, 0);
  attributes.writeUInt32LE(shape.keyBytes, 4);
  attributes.writeUInt32LE(shape.valueBytes, 8);
  attributes.writeUInt32LE(shape.maxEntries, 12);
  attributes.write(shape.name, 28, NAME_BYTES, 'latin1');
  return bpf(Command.mapCreate, attributes, 'create a BPF map');
}

/**
 * A prepared "store this value under this key": the caller writes into `value`, and calling it
 * costs one system call and no garbage.
 */
export function preparedUpdate(map: number, key: Uint8Array, value: Uint8Array): () => void {
  const attributes = mapAttributes(map, key, value);
  const keep = [key, value];
  return () => {
    bpf(Command.mapUpdate, attributes, 'update a BPF map', keep);
  };
}

export function updateMap(map: number, key: Uint8Array, value: Uint8Array): void {
  bpf(Command.mapUpdate, mapAttributes(map, key, value), 'update a BPF map', [key, value]);
}

/** Fills `value` with what is stored under `key`. */
export function lookUpMap(map: number, key: Uint8Array, value: Uint8Array): void {
  bpf(Command.mapLookup, mapAttributes(map, key, value), 'read a BPF map', [key, value]);
}

export function deleteFromMap(map: number, key: Uint8Array): void {
  const attributes = mapAttributes(map, key, new Uint8Array(0));
  bpf(Command.mapDelete, attributes, 'delete from a BPF map', [key]);
}

/** Loads a classifier and returns its descriptor. */
export function loadClassifier(instructions: Buffer, name: string): number {
  const licence = Buffer.from('GPL\0');
  const log = Buffer.alloc(VERIFIER_LOG_BYTES);
  const attributes = Buffer.alloc(72);
  attributes.writeUInt32LE(PROGRAM_TYPE_SCHED_CLS, 0);
  attributes.writeUInt32LE(instructions.length / 8, 4);
  attributes.writeBigUInt64LE(addressOf(instructions), 8);
  attributes.writeBigUInt64LE(addressOf(licence), 16);
  attributes.write(name, 48, NAME_BYTES, 'latin1');
  const keep = [instructions, licence, log];
  try {
    return loadProgram(attributes, keep);
  } catch (error) {
    // Once more with a log: it costs time, and only a refusal has something to say.
    if (!(error instanceof KernelError) || error.errno === Errno.EPERM) throw error;
    attributes.writeUInt32LE(1, 24);
    attributes.writeUInt32LE(log.length, 28);
    attributes.writeBigUInt64LE(addressOf(log), 32);
    const retried = unless([error.errno], () => {
      closeFd(loadProgram(attributes, keep));
    });
    if (retried) throw error;
    const text = log.toString('latin1').replace(/\0.*$/s, '').trim();
    throw new OperatingError({
      code: 'fence-refused',
      message: `the kernel refused the fence program: ${text.split('\n').at(-1) ?? ''}`,
      facts: { verifierLog: text },
      cause: error,
    });
  }
}

/** The programs of one TCX chain in the order in which they run, and the chain's revision. */
export interface TcxChain {
  readonly ids: readonly number[];
  readonly revision: bigint;
}

/**
 * The chain of an interface, empty where the interface is gone; null where the kernel has no TCX
 * (before Linux 6.6).
 */
export function queryTcx(interfaceIndex: number, hook: TcxHook): TcxChain | null {
  const ids = new Uint32Array(CHAIN_MAX);
  const attributes = Buffer.alloc(64);
  attributes.writeUInt32LE(interfaceIndex, 0);
  attributes.writeUInt32LE(hook, 4);
  const idBytes = new Uint8Array(ids.buffer);
  attributes.writeBigUInt64LE(addressOf(idBytes), 16);
  attributes.writeUInt32LE(CHAIN_MAX, 24);
  try {
    bpf(Command.programQuery, attributes, 'list TCX programs', [idBytes]);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    const nothing: readonly number[] = [Errno.ENOENT, Errno.ENODEV];
    if (nothing.includes(error.errno)) return { ids: [], revision: 0n };
    if (error.errno === Errno.EINVAL) return null;
    throw error;
  }
  const count = attributes.readUInt32LE(24);
  return { ids: [...ids.subarray(0, count)], revision: attributes.readBigUInt64LE(56) };
}

/**
 * Puts a program at the head of a chain. Not by a link: a link goes with the process that holds it,
 * and this has to outlive its owner's death.
 */
export function attachTcxFirst(interfaceIndex: number, program: number, hook: TcxHook): void {
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(interfaceIndex, 0);
  attributes.writeUInt32LE(program, 4);
  attributes.writeUInt32LE(hook, 8);
  attributes.writeUInt32LE(BPF_F_BEFORE, 12);
  bpf(Command.programAttach, attributes, 'attach the fence by TCX');
}

/**
 * Takes the program with `id` out of a chain without having a descriptor of it: it is named by its
 * place, and the revision makes the kernel refuse if the chain has changed meanwhile.
 */
export function detachTcxById(interfaceIndex: number, id: number, hook: TcxHook): void {
  const chain = queryTcx(interfaceIndex, hook);
  const place = chain?.ids.indexOf(id) ?? -1;
  if (chain === null || place < 0) return;
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(interfaceIndex, 0);
  attributes.writeUInt32LE(hook, 8);
  if (place === 0) attributes.writeUInt32LE(BPF_F_BEFORE, 12);
  else {
    attributes.writeUInt32LE(BPF_F_AFTER | BPF_F_ID, 12);
    attributes.writeUInt32LE(chain.ids[place - 1] ?? 0, 20);
  }
  attributes.writeBigUInt64LE(chain.revision, 24);
  bpf(Command.programDetach, attributes, 'detach a fence from TCX');
}

/** The id of a program of ours, by which chains list it. */
export function programId(program: number): number {
  return programInfo(program).id;
}

/** The name of the program with `id`; null where this process may not look (CAP_SYS_ADMIN). */
export function programName(id: number): string | null {
  const attributes = Buffer.alloc(16);
  attributes.writeUInt32LE(id, 0);
  const fd = syscallBpf(syscallNumber(), Command.programFromId, attributes, attributes.length);
  if (fd < 0) return null;
  try {
    return programInfo(fd).name;
  } finally {
    closeFd(fd);
  }
}

/** struct bpf_prog_info: type, id, tag, …, name at 64. */
function programInfo(program: number): { readonly id: number; readonly name: string } {
  const info = Buffer.alloc(96);
  const attributes = Buffer.alloc(16);
  attributes.writeUInt32LE(program, 0);
  attributes.writeUInt32LE(info.length, 4);
  attributes.writeBigUInt64LE(addressOf(info), 8);
  bpf(Command.objectInfo, attributes, 'read about a BPF program', [info]);
  const name = info.toString('latin1', 64, 80).replace(/\0.*$/s, '');
  return { id: info.readUInt32LE(4), name };
}

function mapAttributes(map: number, key: Uint8Array, value: Uint8Array): Buffer {
  const attributes = Buffer.alloc(32);
  attributes.writeUInt32LE(map, 0);
  attributes.writeBigUInt64LE(addressOf(key), 8);
  if (value.length > 0) attributes.writeBigUInt64LE(addressOf(value), 16);
  return attributes;
}

/** The verifier gives up with EAGAIN when a signal waits (kernel/bpf/verifier.c): ask again. */
function loadProgram(attributes: Buffer, keep: readonly Uint8Array[]): number {
  for (let attempt = 1; ; attempt++) {
    try {
      return bpf(Command.programLoad, attributes, 'load the fence program', keep);
    } catch (error) {
      const interrupted = error instanceof KernelError && error.errno === Errno.EAGAIN;
      if (!interrupted || attempt >= LOAD_ATTEMPTS) throw error;
    }
  }
}

/** What the kernel reads through addresses in the attributes of the call under way. */
const inFlight: { buffers: readonly Uint8Array[] } = { buffers: [] };

/** @param keep the buffers whose addresses `attributes` holds: they must outlive the call. */
function bpf(
  command: number,
  attributes: Buffer,
  what: string,
  keep: readonly Uint8Array[] = [],
): number {
  inFlight.buffers = keep;
  return check(syscallBpf(syscallNumber(), command, attributes, attributes.length), what);
}

function syscallNumber(): number {
  const number = SYSCALL_NUMBERS[process.arch];
  if (number !== undefined) return number;
  throw new OperatingError({
    code: 'no-ebpf',
    message: `the eBPF fence is not made for the processor architecture ${process.arch}`,
  });
}
