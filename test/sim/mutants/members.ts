/** Mutants: who counts, and how leadership is handed over. See hunt.ts for what they are. */
import type { Mutant } from './hunt.ts';

export const members: readonly Mutant[] = [
  {
    name: 'two membership changes at a time',
    stands: 'bug 3',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/membership.ts',
        find: 'return core.unappliedConfChanges.length > 0 || leadership.pendingConfIndex > core.log.handed;',
        replace: 'return false;',
      },
    ],
  },
  {
    name: 'membership change before the first commit of the term',
    stands: 'bug 2',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'no membership change is taken before the first commit of the term',
    },
    patches: [
      {
        file: 'src/raft/membership.ts',
        find: 'if (!hasCommittedOwnTerm(core, leadership)) return {',
        replace: 'if (Number.isNaN(core.term)) return {',
      },
    ],
  },
  {
    name: 'entries behind the removal of the leader',
    stands: 'bug 4',
    by: {
      file: 'test/raft/scripts.test.ts',
      title: 'the trace of leader_removes_itself.txt is as written',
    },
    patches: [
      {
        file: 'src/raft/proposal.ts',
        find: 'if (leadership.retiring) return',
        replace: 'if (Number.isNaN(core.term)) return',
      },
    ],
  },
  {
    name: 'a removal that loses the quorum',
    stands: 'bug 5',
    by: {
      file: 'test/unit/cluster/control.test.ts',
      title: 'removeMember() and canStop() count who is up',
    },
    patches: [
      {
        file: 'src/cluster/promotion.ts',
        find: 'return active.length > size / 2;',
        replace: 'return active.length <= size;',
      },
    ],
  },
  {
    name: 'committed by the incoming majority alone',
    stands: 'bug 3',
    by: {
      file: 'test/raft/quorum.test.ts',
      title: 'committedIndex() agrees with the definition for every config of up to five',
    },
    patches: [
      {
        file: 'src/raft/quorum.ts',
        find: 'return Math.min(majorityIndex(config.incoming, ackedOf), majorityIndex(config.outgoing, ackedOf));',
        replace: 'return majorityIndex(config.incoming, ackedOf);',
      },
    ],
  },
  {
    name: 'joint configuration never left',
    stands: 'joint consensus',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/membership.ts',
        find: '  if (leadership.lease.released || hasPendingConfChange(core, leadership)) return;\n',
        replace: '  if (leadership.pendingConfIndex >= 0) return;\n',
      },
    ],
  },
  {
    name: 'removed leader leads on',
    stands: 'bug 4',
    by: {
      file: 'test/raft/rawnode.test.ts',
      title: 'a leader that removed itself steps down once that is committed, and another follows',
    },
    patches: [
      {
        file: 'src/raft/membership.ts',
        find: '  if (!core.tracker.isVoter(core.id)) {\n    core.becomeFollower(core.term, null);\n    return config;\n  }\n',
        replace: '',
      },
    ],
  },
  {
    name: 'a removed id may come back',
    stands: 'bug 38',
    by: {
      file: 'test/unit/cluster/state-machine.test.ts',
      title: 'apply() never takes the id of a removed member again',
    },
    patches: [
      {
        file: 'src/cluster/apply.ts',
        find: ' || state.removedIds.includes(joiner.id)',
        replace: '',
      },
    ],
  },
  {
    name: 'proposals taken while leadership is on its way',
    stands: 'bug 37',
    by: {
      file: 'test/raft/transfer.test.ts',
      title: 'proposals are refused while leadership is on its way',
    },
    patches: [
      {
        file: 'src/raft/proposal.ts',
        find: 'if (leadership.transfer !== null || leadership.lease.released) {',
        replace: 'if (leadership.lease.released) {',
      },
    ],
  },
  {
    name: 'a transfer that is never given up',
    stands: 'bug 37',
    by: {
      file: 'test/raft/transfer.test.ts',
      title: 'a transfer that gets no release within E is given up, and proposals flow again',
    },
    patches: [
      {
        file: 'src/raft/transfer.ts',
        find: '{ to, giveUpAt: core.now + core.timing.promiseMs };\n  levelTransferTarget',
        replace: '{ to, giveUpAt: Number.POSITIVE_INFINITY };\n  levelTransferTarget',
      },
    ],
  },
  {
    name: 'release for a target that is behind',
    stands: 'bug 37',
    by: {
      file: 'test/raft/transfer.test.ts',
      title: 'a target that is behind is brought level first',
    },
    patches: [
      {
        file: 'src/raft/transfer.ts',
        find: 'return !leadership.lease.released && target?.match === core.log.lastIndex();',
        replace: 'return !leadership.lease.released && target !== undefined;',
      },
    ],
  },
  {
    name: 'a preferred host is handed the VIP however often it fails',
    stands: 'preference',
    by: {
      file: 'test/unit/cluster/preference.test.ts',
      title: 'a preferred host that restarts in a loop takes the VIP back once and no more',
    },
    patches: [
      {
        file: 'src/cluster/preference.ts',
        find: '(this.#short.get(leader) ?? 0) + 1);',
        replace: '(this.#short.get(leader) ?? 0) + 0);',
      },
    ],
  },
  {
    name: 'a preferred host never gets the VIP back',
    stands: 'preference',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/cluster/chores.ts',
        find: '? this.#preference.successor(status, state, now)',
        replace: '? (this.#preference.successor(status, state, now), null)',
      },
    ],
  },
  {
    name: 'who may not hold the VIP keeps the leadership',
    stands: 'R7, witnesses',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/cluster/chores.ts',
        find: ': bestSuccessor(status, state);',
        replace: ': (bestSuccessor(status, state), null);',
      },
    ],
  },
];
