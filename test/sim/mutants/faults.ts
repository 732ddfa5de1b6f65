/** Mutants: what a host or an operator does wrong is not coped with. See hunt.ts. */
import type { Mutant } from './hunt.ts';

export const faulty: readonly Mutant[] = [
  {
    name: 'a deaf leader asks for whole promises',
    stands: 'R9',
    by: {
      file: 'test/raft/lease.test.ts',
      title:
        'R9: a leader that hears nobody asks for less and less, so that its followers are soon free',
    },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'Math.floor(promiseMs + patience - silent)',
        replace: 'promiseMs + 0 * silent',
      },
    ],
  },
  {
    name: 'a short promise taken for a whole one',
    stands: 'R6, R9',
    by: { seeds: 150 },
    patches: [
      {
        file: 'src/raft/leader.ts',
        find: 'const round = leadership.lease.start(core.now, promiseMs);',
        replace: 'const round = leadership.lease.start(core.now, core.timing.promiseMs);',
      },
    ],
  },
  {
    name: 'a fence that is gone is not missed',
    stands: 'R10: a missing fence means drop at once',
    by: {
      file: 'test/unit/vip/controller.test.ts',
      title: 'without its fence it lets go at once, and claims again behind a new one',
    },
    patches: [
      {
        file: 'src/vip/controller.ts',
        find: 'if (allowed && fence.intact()) {',
        replace: 'if (allowed) {',
      },
      {
        file: 'src/vip/controller.ts',
        find: 'if (this.#held.size > 0 && !fence.intact()) this.#dropUnguarded();',
        replace: 'if (Math.abs(0) > 1) this.#dropUnguarded();',
      },
    ],
  },
  {
    name: 'an address that cannot be withdrawn is left open',
    stands: 'R11',
    by: {
      file: 'test/unit/vip/controller.test.ts',
      title: 'an address that stays is fenced in, also where somebody took the fence away',
    },
    patches: [
      {
        file: 'src/vip/controller.ts',
        find: '    attempt(() => fence.arm(table.ours()));\n',
        replace: '',
      },
    ],
  },
];
