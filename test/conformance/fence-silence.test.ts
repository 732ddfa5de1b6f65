/**
 * The fence on the real kernel, seen from the wire: whatever happens to the process that holds a
 * VIP, no frame speaks for the VIP once the lease is over. Needs root.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { sweep } from '../../src/linux/cleanup.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, macOf } from './netns.ts';
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
after(() => wire.close());

async function startHolder(fence: 'ebpf' | 'nft'): Promise<ChildProcess> {
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

for (const [fence, signal] of [
  ['ebpf', 'SIGSTOP'],
  ['ebpf', 'SIGKILL'],
  ['nft', 'SIGSTOP'],
  ['nft', 'SIGKILL'],
] as const) {
  test(`${fence}: the VIP is silent within the lease after ${signal} of its holder`, async (t) => {
    const holder = await startHolder(fence);
    try {
      const before = await interrogate(300);
      assert.deepEqual([...before.keys()].sort(), EVERY_ANSWER);

      holder.kill(signal);
      const after = await interrogate(600);

      for (const [kind, lastMs] of after) {
        assert.ok(lastMs <= LEASE_MS, `${kind} was answered ${lastMs} ms after ${signal}`);
        t.diagnostic(`${kind}: last answer ${lastMs.toFixed(0)} ms after ${signal}`);
      }
    } finally {
      const gone = holder.signalCode === null ? once(holder, 'exit') : null;
      holder.kill('SIGKILL');
      await gone;
      // What one kind of fence left shut must not vouch for the other.
      sweep();
    }
  });
}
