/** Mutants: what is appended, made durable, committed and read. See hunt.ts for what they are. */
import type { Mutant } from './hunt.ts';

export const logs: readonly Mutant[] = [
  {
    name: 'entries of older terms committed by counting',
    stands: 'bug 1',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/replication.ts',
        find: 'core.log.maybeCommit({ term: core.term, index: core.tracker.committed() })',
        replace:
          'core.log.maybeCommit({ term: core.log.term(core.tracker.committed()) ?? 0, index: core.tracker.committed() })',
      },
    ],
  },
  {
    name: 'append acknowledged before its fsync',
    stands: 'bug 15',
    by: { seeds: 20 },
    patches: [
      {
        file: 'src/raft/core.ts',
        find: '(durable ? this.messages : this.afterAppend).push(message);',
        replace: '(durable ? this.messages : this.messages).push(message);',
      },
    ],
  },
  {
    name: 'leader counts what its own disk does not hold',
    stands: 'bug 15',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/rawnode.ts',
        find: 'handleOwnAppend(core, core.leadership, core.log.stableIndex);',
        replace: 'handleOwnAppend(core, core.leadership, core.log.lastIndex());',
      },
    ],
  },
  {
    name: 'writes not synced',
    stands: 'bug 15',
    by: { seeds: 20 },
    patches: [
      {
        file: 'src/cluster/node.ts',
        find: 'storage.append(ready, ready.mustSync).then(',
        replace: 'storage.append(ready, false).then(',
      },
    ],
  },
  {
    name: 'a write is durable when it is issued',
    stands: 'bug 15',
    by: { seeds: 20 },
    patches: [
      {
        file: 'src/cluster/node.ts',
        find: '      durable: !writes,\n',
        replace: '      durable: true,\n',
      },
    ],
  },
  {
    name: 'goes on after a failed write',
    stands: 'bug 15',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/cluster/node.ts',
        find: '        (error: unknown) => this.#fail(error),\n      );\n    }',
        replace:
          '        () => {\n          outstanding.durable = true;\n          this.#run(() => this.#settle());\n        },\n      );\n    }',
      },
    ],
  },
  {
    name: "the disk's word on an old term counted in a new one",
    stands: 'bugs 17 and 26',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'an entry written, overwritten and written again is durable with the last answer only',
    },
    patches: [
      {
        file: 'src/raft/rawnode.ts',
        find: 'const current = batch.term === core.term;',
        replace: 'const current = true;',
      },
    ],
  },
  {
    name: 'commit beyond what the append proves',
    stands: 'bug 18',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/log.ts',
        find: 'this.commitTo(Math.min(commit, lastNew));',
        replace: 'this.commitTo(Math.min(commit, this.lastIndex()));',
      },
    ],
  },
  {
    name: 'heartbeat commits beyond what the follower matches',
    stands: 'bug 18',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'const commit = Math.min(peer.match, core.log.committed);',
        replace: 'const commit = core.log.committed;',
      },
    ],
  },
  {
    name: 'a stale append truncates',
    stands: 'bug 19',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/log.ts',
        find: 'const conflict = this.findConflict(slice.entries);',
        replace: 'const conflict = slice.entries[0]?.index ?? 0;',
      },
    ],
  },
  {
    name: 'a conflict replaced in place, the tail kept',
    stands: 'bug 20',
    by: {
      file: 'test/raft/log.test.ts',
      title: 'truncateAndAppend() appends, replaces the tail or replaces all',
    },
    patches: [
      {
        file: 'src/raft/unstable.ts',
        find: '    this.#entries.length = keep;\n    for (const entry of entries) this.#entries.push(entry);',
        replace: '    this.#entries.splice(keep, entries.length, ...entries);',
      },
    ],
  },
  {
    name: 'a snapshot keeps a conflicting suffix',
    stands: 'bug 21',
    by: { seeds: 300 },
    patches: [
      {
        file: 'src/raft/follower.ts',
        find: 'if (log.matches(meta)) {',
        replace: 'if (log.lastIndex() >= meta.index) {',
      },
    ],
  },
  {
    name: 'a snapshot deletes a newer suffix',
    stands: 'bug 21',
    by: {
      file: 'test/raft/rawnode.test.ts',
      title: 'a snapshot that is behind, or that the log contains, throws nothing away',
    },
    patches: [
      {
        file: 'src/raft/follower.ts',
        find: 'if (log.matches(meta)) {',
        replace: 'if (Number.isNaN(meta.index)) {',
      },
    ],
  },
  {
    name: 'the last term is lost with a snapshot',
    stands: 'bug 22',
    by: {
      file: 'test/raft/log.test.ts',
      title: 'a pending snapshot is known by its last position until the disk holds that very one',
    },
    patches: [
      {
        file: 'src/raft/unstable.ts',
        find: 'meta.index === index ? meta.term : undefined;',
        replace: 'meta.index === index ? 0 : undefined;',
      },
    ],
  },
  {
    name: 'the configuration in a snapshot is ignored',
    stands: 'bug 21',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/follower.ts',
        find: '      core.tracker.setConfig(restore(meta.config), meta.index);\n',
        replace: '      restore(meta.config);\n',
      },
    ],
  },
  {
    name: 'a newer snapshot taken for the one on disk',
    stands: 'bug 23',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'of two snapshots in a short time the second counts',
    },
    patches: [
      {
        file: 'src/raft/unstable.ts',
        find: 'if (this.#snapshot?.meta.index !== index) return;',
        replace: 'if (this.#snapshot === null || index < 0) return;',
      },
    ],
  },
  {
    name: 'a lost snapshot is waited for for ever',
    stands: 'bug 24',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a member leaves the snapshot state when its snapshot arrived, and when it was lost',
    },
    patches: [
      {
        file: 'src/raft/replication.ts',
        find: "if (core.leadership === null || peer?.state !== 'snapshot') return;",
        replace: "if (core.leadership === null || peer?.state !== 'snapshot' || !ok) return;",
      },
    ],
  },
  {
    name: 'a full window that was lost stays full',
    stands: 'bug 25',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a full window whose messages were all lost recovers by an echo',
    },
    patches: [
      {
        file: 'src/raft/progress.ts',
        find: '  resumeFlow(): void {\n    this.#flowPaused = false;',
        replace: '  resumeFlow(): void {\n    this.#flowPaused &&= this.inflights.full;',
      },
    ],
  },
  {
    name: 'a read before the first commit of the term',
    stands: 'bug 27',
    by: { seeds: 200 },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'if (!hasCommittedOwnTerm(core, leadership) || lease.released',
        replace: 'if (lease.released',
      },
    ],
  },
  {
    name: 'a read confirmed by a round that began before it',
    stands: 'bug 27',
    by: {
      file: 'test/raft/rawnode.test.ts',
      title: 'a read is confirmed by a round that began after it, at the commit index of its time',
    },
    patches: [
      {
        file: 'src/raft/readonly.ts',
        find: '?? Number.POSITIVE_INFINITY) <= round) done += 1;',
        replace: '?? Number.POSITIVE_INFINITY) <= round + 1) done += 1;',
      },
    ],
  },
  {
    name: 'a read confirmed by no round at all',
    stands: 'bug 27',
    by: {
      file: 'test/raft/rawnode.test.ts',
      title: 'a read is confirmed by a round that began after it, at the commit index of its time',
    },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: '  reads.add(context, core.log.committed);',
        replace: '  core.readStates.push({ context, index: core.log.committed });',
      },
    ],
  },
  {
    name: "another's entry taken for one's own",
    stands: 'acknowledged writes',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/cluster/proposals.ts',
        find: 'if (proposal.entry.term !== term || result === null)',
        replace: 'if (result === null)',
      },
    ],
  },
];
