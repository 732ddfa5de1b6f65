/**
 * An assembler for the few eBPF instructions that the fence needs (RFC 9669, linux/bpf.h). A
 * program is a list of instructions and labels; jumps name their label and are resolved here.
 */
import { defined } from '../base/assert.ts';

/** r0 is the result, r1–r5 are arguments, r6–r9 survive calls, r10 is the frame. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

interface Instruction {
  readonly code: number;
  readonly to: Register;
  readonly from: number;
  readonly offset: number;
  /** A jump's target, instead of `offset`. */
  readonly target: string | null;
  readonly immediate: number;
  /** Takes two slots; the second one is empty. */
  readonly wide: boolean;
}

/** An instruction, or the name of the place where it stands. */
export type Line = Instruction | string;

const INSTRUCTION_BYTES = 8;
/** Tells a wide load that its immediate is a map's descriptor (BPF_PSEUDO_MAP_FD). */
const PSEUDO_MAP_FD = 1;

function line(code: number, parts: Partial<Omit<Instruction, 'code'>>): Instruction {
  return { code, to: 0, from: 0, offset: 0, target: null, immediate: 0, wide: false, ...parts };
}

export const move = (to: Register, from: Register): Line => line(0xbf, { to, from });
export const moveValue = (to: Register, immediate: number): Line => line(0xb7, { to, immediate });
export const addValue = (to: Register, immediate: number): Line => line(0x07, { to, immediate });
export const loadByte = (to: Register, from: Register, offset: number): Line =>
  line(0x71, { to, from, offset });
export const loadWord = (to: Register, from: Register, offset: number): Line =>
  line(0x61, { to, from, offset });
export const loadLong = (to: Register, from: Register, offset: number): Line =>
  line(0x79, { to, from, offset });
export const storeWordValue = (to: Register, offset: number, immediate: number): Line =>
  line(0x62, { to, offset, immediate });
export const storeLongValue = (to: Register, offset: number, immediate: number): Line =>
  line(0x7a, { to, offset, immediate });
/** Adds `from` to the 64-bit number in memory, atomically. */
export const atomicAdd = (to: Register, offset: number, from: Register): Line =>
  line(0xdb, { to, from, offset });
export const loadMap = (to: Register, fd: number): Line =>
  line(0x18, { to, from: PSEUDO_MAP_FD, immediate: fd, wide: true });
export const call = (helper: number): Line => line(0x85, { immediate: helper });
export const exit = (): Line => line(0x95, {});
export const jump = (target: string): Line => line(0x05, { target });
export const jumpIfEqual = (to: Register, immediate: number, target: string): Line =>
  line(0x15, { to, immediate, target });
export const jumpIfNot = (to: Register, immediate: number, target: string): Line =>
  line(0x55, { to, immediate, target });
/** Jumps if two registers are equal. */
export const jumpIfSame = (to: Register, from: Register, target: string): Line =>
  line(0x1d, { to, from, target });
/** Unsigned. */
export const jumpIfLess = (to: Register, from: Register, target: string): Line =>
  line(0xad, { to, from, target });

export function assemble(lines: readonly Line[]): Buffer {
  const places = new Map<string, number>();
  let slots = 0;
  for (const entry of lines) {
    if (typeof entry === 'string') places.set(entry, slots);
    else slots += entry.wide ? 2 : 1;
  }
  const program = Buffer.alloc(slots * INSTRUCTION_BYTES);
  let slot = 0;
  for (const entry of lines) {
    if (typeof entry === 'string') continue;
    const { target } = entry;
    const offset =
      target === null ? entry.offset : defined(places.get(target), `label ${target}`) - slot - 1;
    const at = slot * INSTRUCTION_BYTES;
    program.writeUInt8(entry.code, at);
    program.writeUInt8((entry.from << 4) | entry.to, at + 1);
    program.writeInt16LE(offset, at + 2);
    program.writeInt32LE(entry.immediate | 0, at + 4);
    slot += entry.wide ? 2 : 1;
  }
  return program;
}
