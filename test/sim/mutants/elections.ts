/** Mutants: who is elected, by whose votes. See hunt.ts for what they are. */
import type { Mutant } from './hunt.ts';

export const elections: readonly Mutant[] = [
  {
    name: 'vote sent before it is durable',
    stands: 'bug 15',
    by: { seeds: 20 },
    patches: [
      {
        file: 'src/raft/core.ts',
        find: '(this.isHardStateDurable() ? this.messages : this.afterAppend).push(message);',
        replace: 'this.messages.push(message);',
      },
    ],
  },
  {
    name: 'vote written without a sync',
    stands: 'bug 14',
    by: { seeds: 150 },
    patches: [{ file: 'src/raft/rawnode.ts', find: 'hard.vote !== last.vote || ', replace: '' }],
  },
  {
    name: 'vote forgotten when a leader is heard',
    stands: 'bug 13',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/follower.ts',
        find: '  core.leader = leader;\n',
        replace: '  core.leader = leader;\n  core.vote = null;\n',
      },
    ],
  },
  {
    name: 'office taken before its own vote is on disk',
    stands: 'bug 15',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/candidate.ts',
        find: "  sendRequests(core, 'vote');\n",
        replace: "  sendRequests(core, 'vote');\n  core.tracker.recordVote(core.id, true);\n",
      },
      {
        file: 'src/raft/leader.ts',
        find: "assert(core.isHardStateDurable(), 'elected on a vote that is not on disk');",
        replace: '',
      },
    ],
  },
  {
    name: 'vote that comes twice counted twice',
    stands: 'bug 16',
    by: { file: 'test/raft/bugs.test.ts', title: 'a vote that comes twice is counted once' },
    patches: [
      {
        file: 'src/raft/tracker.ts',
        find: 'if (!this.votes.has(id)) this.votes.set(id, granted);',
        replace:
          'const free = this.#quorum.incoming.find((voter) => !this.votes.has(voter));\n    this.votes.set(this.votes.has(id) ? (free ?? id) : id, granted);',
      },
    ],
  },
  {
    name: 'answers to an earlier campaign counted',
    stands: 'bug 16',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'an answer from an earlier campaign does not count in this one',
    },
    patches: [
      {
        file: 'src/raft/raft.ts',
        find: 'if (m.term < core.term) {',
        replace: "if (m.term < core.term && m.type !== 'vote-reply') {",
      },
    ],
  },
  {
    name: 'votes kept from one campaign to the next',
    stands: 'bug 11',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/candidate.ts',
        find: '  core.leader = null;\n  core.tracker.resetVotes();\n',
        replace: '  core.leader = null;\n',
      },
    ],
  },
  {
    name: 'vote granted to a shorter log',
    stands: 'bug 22',
    by: { seeds: 50 },
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '|| !core.log.isUpToDate({ term: m.lastTerm, index: m.lastIndex })',
        replace: '',
      },
    ],
  },
  {
    name: "pre-vote granted whatever the candidate's log",
    stands: 'bug 10',
    by: {
      file: 'test/raft/scripts.test.ts',
      title: 'the trace of prevote_short_log.txt is as written',
    },
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '|| !core.log.isUpToDate(',
        replace: '|| (!soft && !core.log.isUpToDate(',
      },
      {
        file: 'src/raft/voter.ts',
        find: 'index: m.lastIndex })) {',
        replace: 'index: m.lastIndex }))) {',
      },
    ],
  },
  {
    name: 'pre-vote of a lower term unanswered',
    stands: 'bug 7',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a pre-vote from a smaller term is answered, so that its sender catches up',
    },
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '  if (m.term < core.term) {\n    refuse(core, m, 0);\n',
        replace: '  if (m.term < core.term) {\n',
      },
    ],
  },
  {
    name: 'pre-vote refused by who has voted',
    stands: 'bug 9',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '    (soft && m.term > core.term);',
        replace: '    (soft && m.term < core.term);',
      },
    ],
  },
  {
    name: 'leader of an older term unanswered',
    stands: 'bug 8',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a node stuck in a higher term is freed by the leader that it cannot follow',
    },
    patches: [
      {
        file: 'src/raft/raft.ts',
        find: "    case 'heartbeat':\n      core.sendReply({\n        ...head,",
        replace:
          "    case 'heartbeat':\n" +
          '      if (m.round > 0) return;\n      core.sendReply({\n        ...head,',
      },
      {
        file: 'src/raft/raft.ts',
        find: "    case 'append':\n    case 'snapshot':\n      core.sendReply({\n        ...head,",
        replace:
          "    case 'append':\n    case 'snapshot':\n" +
          '      if (m.term > 0) return;\n      core.sendReply({\n        ...head,',
      },
    ],
  },
  {
    name: 'no pre-vote',
    stands: 'bugs 6 and 12',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/raft.ts',
        find: 'if (mayCampaign(core)) campaignSoftly(core);',
        replace: 'if (mayCampaign(core)) campaign(core);',
      },
      { file: 'src/raft/raft.ts', find: 'import { campaignSoftly,', replace: 'import { campaign,' },
    ],
  },
  {
    name: 'term adopted from a vote that is refused',
    stands: 'bug 6',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '  if (owed > 0) {\n',
        replace:
          '  if (owed > 0) {\n    if (m.term > core.term) core.becomeFollower(m.term, null);\n',
      },
    ],
  },
  {
    name: 'who granted a vote campaigns at once',
    stands: 'bug 32',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a voter that has just granted waits a whole timeout',
    },
    patches: [
      { file: 'src/raft/voter.ts', find: '    core.restartElectionTimer();\n', replace: '' },
    ],
  },
  {
    name: 'campaign under its own promise',
    stands: 'R1',
    by: {
      file: 'test/raft/lease.test.ts',
      title: 'R1: under a promise nobody campaigns, not even when told to',
    },
    patches: [
      { file: 'src/raft/candidate.ts', find: '    core.owedMs() === 0 &&\n', replace: '' },
      {
        file: 'src/raft/core.ts',
        find: 'return Math.max(Math.min(due, this.#retryAt), this.promise.until, this.#heldUntil);',
        replace: 'return Math.max(Math.min(due, this.#retryAt), this.#heldUntil);',
      },
    ],
  },
  {
    name: 'learner refuses to vote',
    stands: 'bug 39',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a learner answers a vote request: the candidate may know it as a voter',
    },
    patches: [
      {
        file: 'src/raft/voter.ts',
        find: '  if (!free || ',
        replace: '  if (!core.tracker.isVoter(core.id) || !free || ',
      },
    ],
  },
  {
    name: 'elected by the incoming majority alone',
    stands: 'bug 3',
    by: {
      file: 'test/raft/quorum.test.ts',
      title: 'voteResult() agrees with the definition for every config of up to five',
    },
    patches: [
      {
        file: 'src/raft/quorum.ts',
        find: 'const outgoing = majorityVote(config.outgoing, votes);',
        replace: "const outgoing = 'won' as VoteResult;",
      },
    ],
  },
  {
    name: 'campaign on a membership change not yet applied',
    stands: 'bug 3',
    by: {
      file: 'test/raft/bugs.test.ts',
      title: 'a node does not campaign with a committed membership change that it has not applied',
    },
    patches: [
      {
        file: 'src/raft/candidate.ts',
        find: '    core.owedMs() === 0 &&\n    !core.hasUnappliedConfChange()',
        replace: '    core.owedMs() === 0',
      },
    ],
  },
];
