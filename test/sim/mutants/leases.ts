/** Mutants: who may hold the VIP, and until when. See hunt.ts for what they are. */
import type { Mutant } from './hunt.ts';

export const leases: readonly Mutant[] = [
  {
    name: 'no promise after a restart',
    stands: 'R2, bug 30',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'Number.NEGATIVE_INFINITY : now + outlasting(maxMs, drift)',
        replace: 'Number.NEGATIVE_INFINITY : now',
      },
    ],
  },
  {
    name: 'promise tied to a known leader',
    stands: 'R1, bug 28',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/core.ts',
        find: 'return Math.max(this.promise.remaining(this.now),',
        replace: 'return Math.max(this.leader === null ? 0 : this.promise.remaining(this.now),',
      },
    ],
  },
  {
    name: 'lease counted from the receipt of the echo',
    stands: 'R6',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'leadership.lease.acknowledged(round);',
        replace: 'leadership.lease.acknowledged(round, core.now);',
      },
      {
        file: 'src/raft/lease.ts',
        find: 'acknowledged(round: number): void {',
        replace: 'acknowledged(round: number, now: number): void {',
      },
      {
        file: 'src/raft/lease.ts',
        find: 'this.#deadline = Math.max(this.#deadline, entry.expiresAt);',
        replace: 'this.#deadline = Math.max(this.#deadline, now + entry.expiresAt - entry.sentAt);',
      },
    ],
  },
  {
    name: 'lease of two promises',
    stands: 'R6, bug 28',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'Math.floor((promiseMs * (1 - drift))',
        replace: 'Math.floor((2 * promiseMs * (1 - drift))',
      },
    ],
  },
  {
    name: 'lease as long as the promise',
    stands: 'R6, bug 31',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'leaseLength() is what two clocks at the bound leave of a promise',
    },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'return Math.floor((promiseMs * (1 - drift)) / (1 + drift));',
        replace: 'return promiseMs + 0 * drift;',
      },
    ],
  },
  {
    name: 'heartbeat dated before it was received',
    stands: 'R1: f from a cached loop time',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/cluster/node.ts',
        find: 'const now = this.#ports.clock.now();\n      this.#raw.step(now, message);',
        replace: 'const now = this.#lookedAt;\n      this.#raw.step(now, message);',
      },
      {
        file: 'src/cluster/node.ts',
        find: '  #processing = false;\n',
        replace: '  #processing = false;\n  #lookedAt = 0;\n',
      },
      {
        file: 'src/cluster/node.ts',
        find: 'due: () => this.#run(() => this.#raw.tick(clock.now())),',
        replace: 'due: () => this.#run(() => this.#raw.tick((this.#lookedAt = clock.now()))),',
      },
    ],
  },
  {
    name: 'wall clock in the core',
    stands: 'R1, bug 35',
    by: { file: 'test/tidy.test.ts', title: 'banned tokens stay in their one place' },
    patches: [
      {
        file: 'src/raft/core.ts',
        find: 'if (now > this.now) this.now = now;',
        replace: 'if (now > 0) this.now = Date.now();',
      },
    ],
  },
  {
    name: 'longest promise not stored before the echo',
    stands: 'R2',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/follower.ts',
        find: 'core.promiseMaxMs = core.promise.echo(core.now, m.promiseMs);',
        replace: 'core.promiseMaxMs = core.timing.promiseMs;',
      },
    ],
  },
  {
    name: 'longest promise forgotten while it binds',
    stands: 'R2',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'each.until > now && each.promiseMs > promiseMs',
        replace: 'each.until < now && each.promiseMs > promiseMs',
      },
    ],
  },
  {
    name: 'a shortened promise under way taken for the longer one on disk',
    stands: 'R2',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R2: a longer promise waits for its own write behind a shorter one under way',
    },
    patches: [
      {
        file: 'src/raft/rawnode.ts',
        find: 'this.#core.durable = { ...known, promiseMaxMs };',
        replace:
          'this.#core.durable = { ...known, ...(promiseMaxMs < 0 ? { promiseMaxMs } : {}) };',
      },
    ],
  },
  {
    name: 'promise without bounds',
    stands: 'R3',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R3: an absurd promise is neither made nor echoed',
    },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'return promiseMs >= promiseMinMs && promiseMs <= promiseLimitMs;',
        replace: 'return promiseMs > 0;',
      },
    ],
  },
  {
    name: 'a late heartbeat of an older term is echoed',
    stands: 'R1',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R1: a late heartbeat of an older term is answered and not echoed',
    },
    patches: [{ file: 'src/raft/raft.ts', find: 'round: 0,', replace: 'round: m.round,' }],
  },
  {
    name: "voters' remaining promises ignored",
    stands: 'R4',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R4: a leader waits for whatever a voter that granted still owed',
    },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'claimNotBefore: owed > 0 ? core.now + outlasting(owed, core.config.clockDrift) : 0,',
        replace: 'claimNotBefore: 0,',
      },
    ],
  },
  {
    name: 'a later, shorter round proves an earlier, longer one',
    stands: 'R6',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'an echo of a short round does not prove the promise of an earlier, longer one',
    },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'if (earlier === undefined || earlier.expiresAt <= expiresAt) break;',
        replace: 'if (earlier !== undefined) break;',
      },
    ],
  },
  {
    name: 'lease by the incoming majority alone',
    stands: 'R6',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R6: in a joint config both majorities must have echoed',
    },
    patches: [
      {
        file: 'src/raft/tracker.ts',
        find: 'return committedIndexBy(this.#quorum, (id) => this.#progress.get(id)?.echoedRound ?? 0);',
        replace:
          'return committedIndexBy({ ...this.#quorum, outgoing: [] }, (id) => this.#progress.get(id)?.echoedRound ?? 0);',
      },
    ],
  },
  {
    name: 'lease not reconsidered after a membership change',
    stands: 'R6',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'a change of configuration cuts the lease to what its members have echoed',
    },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'this.#deadline = Math.min(this.#deadline, proven);',
        replace: 'this.#deadline = Math.max(this.#deadline, proven);',
      },
    ],
  },
  {
    name: 'leader grants votes under its own lease',
    stands: 'R1, bug 33',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R1: a leader refuses votes until its own deadline and keeps its term',
    },
    patches: [
      {
        file: 'src/raft/core.ts',
        find: 'const lease = this.leadership?.lease.deadline ?? 0;',
        replace: 'const lease = 0;',
      },
    ],
  },
  {
    name: 'lease forgotten by who stepped down',
    stands: 'R1, bug 34',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R1: who led goes on being bound by its lease after it stepped down',
    },
    patches: [
      {
        file: 'src/raft/core.ts',
        find: 'if (lease.deadline > 0) this.promise.make(lease.deadline, this.term, this.id);',
        replace: 'if (lease.deadline < 0) this.promise.make(lease.deadline, this.term, this.id);',
      },
    ],
  },
  {
    name: 'deaf leader goes on for ever',
    stands: 'R9, bug 12',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'return leadership.lease.provenAt + core.timing.promiseMs;',
        replace: 'return Number.POSITIVE_INFINITY;',
      },
    ],
  },
  {
    name: 'transfer without dropping first',
    stands: 'R8, bug 29',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'return this.#released ? 0 : this.#deadline;',
        replace: 'return this.#deadline;',
      },
      {
        file: 'src/cluster/assign.ts',
        find: 'if (lease.released || lease.wantsRelease)',
        replace: 'if (Number.isNaN(term))',
      },
    ],
  },
  {
    name: 'TimeoutNow before the VIP is withdrawn',
    stands: 'R8, bug 29',
    by: {
      file: 'test/raft/transfer.test.ts',
      title: 'no transfer finishes before the owner of the VIP has let go',
    },
    patches: [
      {
        file: 'src/raft/transfer.ts',
        find: 'leadership.transfer = { to, giveUpAt: core.now + core.timing.promiseMs };\n  levelTransferTarget(core, leadership);',
        replace:
          'leadership.transfer = { to, giveUpAt: core.now + core.timing.promiseMs };\n  repeatRelease(core, leadership);',
      },
    ],
  },
  {
    name: "a release ends anybody's promise",
    stands: 'R8',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'a promise grows, never shrinks, and ends by the release of exactly its leader',
    },
    patches: [
      {
        file: 'src/raft/lease.ts',
        find: 'if (release.term === this.#term && release.leader === this.#leader) this.#until = 0;',
        replace: 'if (release.term > 0) this.#until = 0;',
      },
    ],
  },
  {
    name: 'promise to a leader that let go',
    stands: 'R8',
    by: {
      file: 'test/raft/transfer.test.ts',
      title: 'a heartbeat that arrives after its leader let go makes no promise',
    },
    patches: [
      { file: 'src/raft/follower.ts', find: '|| core.isReleased(m.term, m.from)', replace: '' },
    ],
  },
  {
    name: 'messages leave before the VIP is dropped',
    stands: 'R9',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/cluster/node.ts',
        find: 'sink.update(ready.lease);',
        replace: 'clock.after(5, () => sink.update(ready.lease));',
      },
    ],
  },
  {
    name: 'claims before its own term is committed',
    stands: 'R5, bug 27',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/cluster/assign.ts',
        find: 'if (!lease.ownTermCommitted || !view.ownTermApplied) {',
        replace: 'if (Number.isNaN(term)) {',
      },
    ],
  },
  {
    name: 'agent only, no kernel fence',
    stands: 'R10',
    by: { seeds: 50 },
    patches: [
      {
        file: 'test/sim/kernel-ports.ts',
        find: 'state.openUntilMono = until;',
        replace: 'state.openUntilMono = Number.POSITIVE_INFINITY;',
      },
    ],
  },
  {
    name: 'fence with a relative timeout',
    stands: 'R10',
    by: { seeds: 150 },
    patches: [
      {
        file: 'test/sim/kernel-ports.ts',
        find: '(state) => {\n      state.openUntilMono = until;',
        replace:
          '(state, at) => {\n      state.openUntilMono = until - mono + this.#kernel.mono(at);',
      },
    ],
  },
  {
    name: 'former VIP left at start',
    stands: 'R11, bug 40',
    by: {
      file: 'test/unit/vip/controller.test.ts',
      title: 'start() removes what a former process left',
    },
    patches: [
      {
        file: 'src/vip/controller.ts',
        find: "this.#letGo('a former process left it');",
        replace: '',
      },
    ],
  },
  {
    name: 'address not taken away on a withdrawal',
    stands: 'R8, bug 40',
    by: {
      file: 'test/unit/vip/controller.test.ts',
      title: 'set() without a hold has let go when it returns',
    },
    patches: [{ file: 'src/vip/controller.ts', find: '    table.remove(address);\n', replace: '' }],
  },
  {
    name: 'clock not read again after the claim',
    stands: 'R7',
    by: {
      file: 'test/unit/vip/controller.test.ts',
      title: 'a claim that took too long is undone before anybody hears of it',
    },
    patches: [
      {
        file: 'src/vip/controller.ts',
        find: '    if (late !== null) {\n',
        replace: '    if (late !== null && link === undefined) {\n',
      },
    ],
  },
];
