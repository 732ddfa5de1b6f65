/**
 * The fence on the real kernel, seen from the wire: whatever happens to the process that holds a
 * VIP, no frame speaks for the VIP once the lease is over. Needs root.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import {
  attachTcxFirst,
  detachTcxById,
  loadClassifier,
  programId,
  Tcx,
} from '../../src/linux/bpf.ts';
import { assemble, exit, moveValue } from '../../src/linux/bpf-assembler.ts';
import { sweep } from '../../src/linux/cleanup.ts';
import { interfaceIndex } from '../../src/linux/libc.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, macOf, run } from './netns.ts';
import { answerKind, questions, Wire } from './wire.ts';

const LEASE_MS = 250;
const RENEW_EVERY_MS = 30;
/** What the unit gives the agent, and no more. */
const RIGHTS = '-all,+net_admin,+net_raw,+bpf';
const VIPS = ['10.77.0.100', 'fd77::100'];

enterFreshNamespace();
const peer = addNamespace('peer');
cable('eth0', peer, { v4: '10.77.0', v6: 'fd77' });
const wire = inNamespace(peer, () => new Wire('eth0'));
const mac = inNamespace(peer, () => macOf('eth0'));
const peerMac = macOf('eth0');
const eth0 = interfaceIndex('eth0');
/** Ids of the programs that a test has put before the fence. */
const foreign: number[] = [];
after(() => wire.close());

async function startHolder(fence: 'ebpf' | 'nft' | 'double'): Promise<ChildProcess> {
  const vips = VIPS.map((address) => ({ address, interface: 'eth0' }));
  const options = { vips, fence, leaseMs: LEASE_MS, renewEveryMs: RENEW_EVERY_MS };
  const entry = new URL('./holder.ts', import.meta.url).pathname;
  const node = [process.execPath, entry, JSON.stringify(options)];
  const child = spawn('setpriv', ['--bounding-set', RIGHTS, ...node], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout ?? child, 'data');
  return child;
}

const frames = VIPS.flatMap((vip) => {
  const address = vip.includes(':') ? 'fd77::2' : '10.77.0.2';
  return [...questions({ mac, address, peerMac, vip }).values()];
});

/** Asks everything each 2 ms for `forMs`; the last answer of each kind, in ms from the start. */
async function interrogate(forMs: number): Promise<Map<string, number>> {
  wire.take();
  const last = new Map<string, number>();
  const start = performance.now();
  while (performance.now() - start < forMs) {
    // The kernel answers within the call, so a busy machine that reads late does not count.
    const askedMs = performance.now() - start;
    for (const frame of frames) wire.send(frame);
    await pause(2);
    for (const frame of wire.take()) {
      for (const vip of VIPS) {
        const kind = answerKind(vip, frame);
        if (kind !== null) last.set(`${vip} ${kind}`, askedMs);
      }
    }
  }
  return last;
}

const EVERY_ANSWER = [
  '10.77.0.100 arp',
  '10.77.0.100 ping',
  'fd77::100 neighbour',
  'fd77::100 ping',
];

type Signal = 'SIGSTOP' | 'SIGKILL';

/** A program of somebody else that lets everything pass and ends the chain. */
function putForeignProgramFirst(): void {
  const program = loadClassifier(assemble([moveValue(0, 0), exit()]), 'foreign');
  for (const hook of [Tcx.ingress, Tcx.egress]) attachTcxFirst(eth0, program, hook);
  foreign.push(programId(program));
}

/** What others do to the fence; each right after the signal, so that the holder cannot mend it. */
const interference = {
  nothing: () => undefined,
  'nft flush ruleset': () => void run('nft flush ruleset'),
  'tc qdisc del clsact': () => void run('tc qdisc del dev eth0 clsact'),
  'a foreign TCX program put first': putForeignProgramFirst,
  'a foreign TCX program put first and clsact deleted': () => {
    putForeignProgramFirst();
    run('tc qdisc del dev eth0 clsact');
  },
} as const;

type Interference = keyof typeof interference;
type Case = readonly ['ebpf' | 'nft' | 'double', Signal, Interference];

const all = Object.keys(interference) as Interference[];
const cases: readonly Case[] = (['SIGSTOP', 'SIGKILL'] as const).flatMap((signal) => [
  ['ebpf', signal, 'nothing'],
  ['nft', signal, 'nothing'],
  ['nft', signal, 'nft flush ruleset'],
  ...all.map((then): Case => ['double', signal, then]),
]);

for (const [fence, signal, then] of cases) {
  const story = then === 'nothing' ? signal : `${signal} and ${then}`;
  test(`${fence}: the VIP is silent within the lease after ${story}`, async (t) => {
    const holder = await startHolder(fence);
    try {
      const asked = await interrogate(300);
      assert.deepEqual([...asked.keys()].sort(), EVERY_ANSWER);

      const signalledMs = performance.now();
      holder.kill(signal);
      interference[then]();
      const askedMs = performance.now() - signalledMs;
      const after = await interrogate(600);

      for (const [kind, lastMs] of after) {
        const mute = askedMs + lastMs;
        assert.ok(mute <= LEASE_MS, `${kind} was answered ${mute} ms after ${story}`);
        t.diagnostic(`${kind}: last answer ${mute.toFixed(0)} ms after ${story}`);
      }
    } finally {
      const gone = holder.signalCode === null ? once(holder, 'exit') : null;
      holder.kill('SIGKILL');
      await gone;
      // What one kind of fence left shut must not vouch for the other.
      sweep();
      for (const id of foreign.splice(0)) {
        for (const hook of [Tcx.ingress, Tcx.egress]) detachTcxById(eth0, id, hook);
      }
    }
  });
}
