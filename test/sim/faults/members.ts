/** Changes of membership under all other faults, as operators make them. */
import { pick } from '../../../src/base/prng.ts';
import type { Faults } from '../faults.ts';
import { newestLeader, type SimHost } from '../host.ts';
import type { Request } from '../program.ts';
import type { Catalogue } from './fault.ts';

/** How often what leaves one voter is let happen when it is drawn: it changes all that follows. */
const DRASTIC_CHANCE = 0.15;

type Kind =
  | 'member-change'
  | 'promote'
  | 'replace'
  | 'move'
  | 'drain'
  | 'return-removed'
  | 'grow'
  | 'shrink'
  | 'change-in-transfer'
  | 'change-in-snapshot'
  | 'recovery';

export const memberFaults: Catalogue<Kind> = {
  'member-change'(faults) {
    const request = someChange(faults);
    if (request === null) return false;
    faults.parts.workload.ask(request, 'member-change');
    return 'asked';
  },
  /** By hand, also where it makes an even number of voters. */
  promote(faults) {
    const [id] = newestLeader(faults.parts.hosts)?.config()?.learners ?? [];
    if (id === undefined) return false;
    faults.parts.workload.ask({ type: 'promote', id }, 'promote');
    return 'asked';
  },
  replace(faults) {
    const { hosts, workload } = faults.parts;
    const goes = pick(faults.random, hosts);
    const comes = hosts.find((host) => !host.isProvisioned);
    if (comes === undefined || !mayLoseVoters(faults) || !isMember(faults, goes)) return false;
    workload.ask({ type: 'replace', id: comes.id, replaces: goes.id }, 'replace');
    return 'asked';
  },
  /** Another address: refused for a member that is heard. */
  move(faults) {
    const { id } = pick(faults.random, faults.parts.hosts);
    const address = `${id}:${faults.random() < 0.5 ? 7444 : 7445}`;
    faults.parts.workload.ask({ type: 'move', id, address }, 'move');
    return 'asked';
  },
  drain(faults) {
    const host = faults.victim();
    const draining = faults.random() < 0.6;
    faults.parts.workload.ask({ type: 'drain', id: host.id, draining }, 'drain');
    return 'asked';
  },
  'return-removed'(faults) {
    const { hosts, workload } = faults.parts;
    const removed = newestLeader(hosts)?.state()?.removedIds ?? [];
    if (removed.length === 0) return false;
    workload.ask({ type: 'add', id: pick(faults.random, removed) }, 'return-removed');
    return 'asked';
  },
  /** 1 → 2 by hand, which nobody does unasked, and on to 3. */
  grow(faults) {
    const { hosts, workload } = faults.parts;
    const config = newestLeader(hosts)?.config();
    if (config === undefined || config === null || config.voters.length > 2) return false;
    const [id] = config.learners;
    const spare = hosts.find((host) => !host.isProvisioned);
    if (id !== undefined) {
      workload.ask({ type: 'promote', id }, config.voters.length === 1 ? 'grow' : 'promote');
    } else if (spare !== undefined) {
      workload.ask({ type: 'add', id: spare.id });
    }
    return 'asked';
  },
  /** 3 → 2 → 1, one after another, whoever leads. */
  shrink(faults) {
    const { hosts, workload } = faults.parts;
    const voters = newestLeader(hosts)?.config()?.voters ?? [];
    if (voters.length !== 3 || faults.random() > DRASTIC_CHANCE) return false;
    if (!mayLoseVoters(faults)) return false;
    const [first = '', second = ''] = faults.shuffled(voters);
    workload.ask({ type: 'retire', id: first });
    faults.later(300 + 700 * faults.random(), () => {
      if (newestLeader(hosts)?.config()?.voters.length !== 2) return;
      workload.ask({ type: 'retire', id: second }, 'shrink');
    });
    return 'asked';
  },
  'change-in-transfer'(faults) {
    const leader = newestLeader(faults.parts.hosts);
    const request = someChange(faults);
    if (leader === undefined || request === null) return false;
    const { workload } = faults.parts;
    leader.inProcess((brain) => {
      if (faults.random() < 0.5) brain.ask({ type: 'transfer', to: null });
      workload.askOf(leader, request, 'change-in-transfer');
      brain.ask({ type: 'transfer', to: null });
    });
    return 'asked';
  },
  'change-in-snapshot'(faults) {
    const { net, world, workload } = faults.parts;
    const request = someChange(faults);
    if (request === null) return false;
    net.onNextSnapshot(() => {
      world.exercise('change-in-snapshot');
      workload.ask(request);
    });
    return 'asked';
  },
  /** All but one are lost at once, and a person makes the one a cluster of its own. */
  recovery(faults) {
    const { hosts, options, recover } = faults.parts;
    const drastic = options.mode === 'promised' && faults.random() < DRASTIC_CHANCE;
    if (!drastic || hosts.some((host) => host.isScrapped)) return false;
    return recover(pick(faults.random, hosts));
  },
};

/** Somebody comes or somebody goes; null where that is not to be now. */
function someChange(faults: Faults): Request | null {
  const { hosts, options } = faults.parts;
  const host = pick(faults.random, hosts);
  // Members are removed less often than strangers are added, so that clusters stay clusters.
  if (!isMember(faults, host)) return host.isScrapped ? null : { type: 'add', id: host.id };
  if (options.nodes === 1 || faults.random() < 0.5 || !mayLoseVoters(faults)) return null;
  return { type: faults.random() < 0.5 ? 'remove' : 'retire', id: host.id };
}

function isMember({ parts }: Faults, { id }: SimHost): boolean {
  return parts.hosts.some((leader) => {
    const config = leader.leads ? leader.config() : null;
    return config !== null && [...config.voters, ...config.learners].includes(id);
  });
}

/** Nobody takes voters away while one of them is lost for good. */
function mayLoseVoters({ parts }: Faults): boolean {
  const config = newestLeader(parts.hosts)?.config();
  if (config === undefined || config === null) return false;
  return !parts.hosts.some((host) => host.isScrapped && config.voters.includes(host.id));
}
