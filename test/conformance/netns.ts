/**
 * Network namespaces for tests: the test process itself moves into a fresh one, which ends with it,
 * and a named one plays the neighbour host on the other end of a cable.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';

const CLONE_NEWNET = 0x40000000;

const library = koffi.load(null);
const unshare: (flags: number) => number = library.func('int unshare(int)');
const setns: (fd: number, type: number) => number = library.func('int setns(int, int)');

/** Runs a command in the namespace in which the caller is; returns what it printed. */
export function run(command: string): string {
  const [program = '', ...args] = command.split(' ');
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Moves this process, from here on, into a network namespace of its own. */
export function enterFreshNamespace(): void {
  assert.equal(process.getuid?.(), 0, 'this test makes network namespaces and needs root');
  assert.equal(unshare(CLONE_NEWNET), 0, 'could not make a network namespace');
  run('ip link set lo up');
}

/** A namespace with a name; deleted when the process exits, however the test ended. */
export function addNamespace(label: string): string {
  const name = `hfvip-${process.pid}-${label}`;
  run(`ip netns add ${name}`);
  process.once('exit', () => execFileSync('ip', ['netns', 'delete', name]));
  // A runner that gives up on a test ends it by a signal, which by itself runs no exit handler.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));
  inNamespace(name, () => run('ip link set lo up'));
  return name;
}

/** Runs `action` with this thread in the named namespace: sockets that it opens stay there. */
export function inNamespace<T>(name: string, action: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const there = openSync(`/run/netns/${name}`, 'r');
  try {
    assert.equal(setns(there, CLONE_NEWNET), 0);
    return action();
  } finally {
    assert.equal(setns(home, CLONE_NEWNET), 0);
    closeSync(there);
    closeSync(home);
  }
}

/** A cable from `here` (in this namespace) to `eth0` of the named one, with addresses, both up. */
export function cable(here: string, peer: string, subnet: { v4: string; v6: string }): void {
  run(`ip link add ${here} type veth peer name eth0 netns ${peer}`);
  for (const [host, act] of [
    [1, (command: string) => run(command)],
    [2, (command: string) => inNamespace(peer, () => run(command))],
  ] as const) {
    const link = host === 1 ? here : 'eth0';
    act(`ip addr add ${subnet.v4}.${host}/24 dev ${link}`);
    act(`ip addr add ${subnet.v6}::${host}/64 dev ${link} nodad`);
    act(`ip link set ${link} up`);
  }
}

/** The MAC address of a link in the caller's namespace. */
export function macOf(link: string): string {
  return /link\/ether (\S+)/.exec(run(`ip link show ${link}`))?.[1] ?? '';
}
