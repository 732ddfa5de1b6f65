/**
 * The power of all hosts goes at once, again and again, each time at another instant of their work:
 * in the middle of writes, or while they are only coming back from the cut before. Whatever was not
 * synced is lost. Nobody helps but for starting the agents, as a boot would.
 */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { intBetween, type Prng, prng } from '../../src/base/prng.ts';
import type { HardState } from '../../src/raft/types.ts';
import { readOffline } from '../../src/storage/read-offline.ts';
import { lasting, monotonicMs, until } from './clock.ts';
import type { Host } from './host.ts';
import { assertNeverTwo } from './observer.ts';
import { Registers } from './registers.ts';
import type { Scene } from './scene.ts';

/** The cut comes so long after the writers began, or, one time in three, after the agents did. */
const longestMs = 2_500;
const duringStartChance = 1 / 3;

/** From the start of the agents until somebody serves the VIP. */
const backWithinMs = 10_000;
/** A fence closes by itself within a lease. */
const muteWithinMs = 2_000;

export interface Cut {
  readonly duringStart: boolean;
  /** From the start of the agents after the cut to the first answer for the VIP. */
  readonly backMs: number;
  /** Writes that were acknowledged so far. */
  readonly acknowledged: number;
  /** Bytes of the three stores that were written and not synced. */
  readonly lostBytes: number;
}

export class PowerCuts {
  readonly #scene: Scene;
  readonly #registers = new Registers();
  readonly #hardStates = new Map<string, HardState>();
  #cuts = 0;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Cuts the power at an instant drawn from `seed`, and sees to it that all is well afterwards. */
  async strike(seed: number): Promise<Cut> {
    const random = prng(seed);
    const { observer, lab } = this.#scene;
    await observer.forget();
    const duringStart = random() < duringStartChance;
    this.#registers.start(lab.hosts);
    let lostBytes = 0;
    try {
      let starting: Promise<unknown> = Promise.resolve();
      if (duringStart) {
        await this.#cut(random);
        starting = Promise.allSettled(lab.hosts.map((host) => host.startAgent()));
      }
      await lasting(intBetween(random, 20, longestMs));
      lostBytes = await this.#cut(random, starting);
    } finally {
      await this.#registers.stop();
    }

    const startedAt = monotonicMs();
    await Promise.all(lab.hosts.map((host) => host.startAgent()));
    await observer.waitForHolder(lab.vip, backWithinMs);
    const backMs = (observer.changes.at(-1)?.at ?? Number.NaN) - startedAt;
    await this.#verify();
    return { duringStart, backMs, acknowledged: this.#registers.acknowledged, lostBytes };
  }

  /** Returns how many bytes of the stores went with the power. */
  async #cut(random: Prng, starting: Promise<unknown> = Promise.resolve()): Promise<number> {
    const { lab, observer } = this.#scene;
    // A new file each: what replaces another one is written out early by ext4.
    const canary = `canary-${this.#cuts++}`;
    const canaries = lab.hosts.map(({ disk }) => `${disk.path}/${canary}`);
    for (const path of canaries) writeFileSync(path, 'written, and never synced');
    const hosts = lab.hosts.toSorted(() => random() - 0.5);
    for (const host of hosts) {
      host.agent.signalGroup('SIGKILL');
      host.disk.cutPower();
    }
    const written = lab.hosts.map(storeBytes);
    await Promise.all(hosts.map((host) => host.agent.ended));
    await starting;
    await until(() => observer.holder(lab.vip) === null, {
      timeoutMs: muteWithinMs,
      what: 'dead hosts to fall silent',
    });
    let lost = 0;
    for (const [at, host] of lab.hosts.entries()) {
      host.disk.restorePower();
      const { size = 0 } = statSync(canaries[at] ?? '', { throwIfNoEntry: false }) ?? {};
      assert.equal(size, 0, `the disk of ${host.name} kept what was never synced`);
      // A file whose deletion was not synced is back.
      lost += Math.max(0, (written[at] ?? 0) - storeBytes(host));
      await this.#checkVote(host);
    }
    return lost;
  }

  /** Neither a term nor a vote is ever taken back. */
  async #checkVote(host: Host): Promise<void> {
    // A copy: opening a store mends what the cut left, and that is the agent's to do.
    const copy = `${host.directory}/raft-copy`;
    cpSync(`${host.dataDir}/raft`, copy, { recursive: true });
    const found = await readOffline(copy);
    rmSync(copy, { recursive: true });
    assert.equal(found.kind, 'read');
    if (found.kind !== 'read') return;
    const before = this.#hardStates.get(host.name);
    const { hard } = found;
    this.#hardStates.set(host.name, hard);
    if (before === undefined) return;
    const story = `${host.name}: ${JSON.stringify(before)} became ${JSON.stringify(hard)}`;
    // The longest promise may shrink: it has run out long before the next cut (rule R2).
    assert.ok(hard.term >= before.term, story);
    if (hard.term === before.term && before.vote !== null) {
      assert.equal(hard.vote, before.vote, story);
    }
  }

  async #verify(): Promise<void> {
    const { cluster, lab, observer } = this.#scene;
    await cluster.settled();
    const [host] = lab.hosts;
    assert.ok(host !== undefined);
    await this.#registers.verify(host);
    assertOneLeaderATerm(lab.hosts);
    assertNeverTwo(await observer.report(lab.vip));
  }
}

function storeBytes(host: Host): number {
  const store = `${host.dataDir}/raft/log`;
  return readdirSync(store).reduce((sum, name) => sum + statSync(`${store}/${name}`).size, 0);
}

/** Two votes of one member in one term would sooner or later give that term two leaders. */
function assertOneLeaderATerm(hosts: readonly Host[]): void {
  const leaders = new Map<string, string>();
  for (const { name, agentLog } of hosts) {
    for (const [, term = ''] of agentLog.matchAll(/ node\.role .*role=leader term=(\d+)/g)) {
      const other = leaders.get(term);
      assert.ok(other === undefined || other === name, `${other} and ${name} led term ${term}`);
      leaders.set(term, name);
    }
  }
  assert.ok(leaders.size > 0, 'the logs name no leader');
}
