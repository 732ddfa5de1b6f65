/**
 * `node without-bpf.ts PATH ARGS…` becomes that program, to which the kernel refuses bpf(2): a
 * seccomp filter that survives exec, as a container's or a hardened unit's. seccomp(2),
 * linux/filter.h.
 */
import koffi from 'koffi';

const library = koffi.load(null);
const control = library.func('int prctl(int, ulong, ulong, ulong, ulong)');
const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;
const RET_ALLOW = 0x7fff0000;
const RET_EPERM = 0x00050001;
const callNumbers: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };

const bpf = callNumbers[process.arch];
if (bpf === undefined) throw new Error(`no number of bpf(2) is known for ${process.arch}`);

// Load the call's number; is it bpf's: refuse; else allow.
const steps = [
  [0x20, 0, 0, 0],
  [0x15, 0, 1, bpf],
  [0x06, 0, 0, RET_EPERM],
  [0x06, 0, 0, RET_ALLOW],
] as const;
const filter = Buffer.from(new ArrayBuffer(steps.length * 8));
for (const [i, [code, ifTrue, ifFalse, k]] of steps.entries()) {
  filter.writeUInt16LE(code, i * 8);
  filter[i * 8 + 2] = ifTrue;
  filter[i * 8 + 3] = ifFalse;
  filter.writeUInt32LE(k, i * 8 + 4);
}
const program = Buffer.from(new ArrayBuffer(16));
program.writeUInt16LE(steps.length, 0);
program.writeBigUInt64LE(BigInt(koffi.address(filter)), 8);

if (control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) !== 0) throw new Error('no_new_privs was refused');
const address = koffi.address(program);
if (control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0, 0) !== 0) {
  throw new Error(`the seccomp filter was refused: errno ${koffi.errno()}`);
}
const [, , command = '', ...args] = process.argv;
if (process.execve === undefined) throw new Error('this Node cannot become another program');
process.execve(command, [command, ...args]);
