/** The judgement in the status document: a verdict, and sentences that say what to do. */
import { isoTime } from './duration.ts';
import { currentObservations } from './observed-by.ts';
import { memberById } from './state.ts';
import type { StatusFacts } from './status.ts';
import type { MemberStatus, StatusDocument } from './status-document.ts';
import type { ClusterView } from './view.ts';

/** Certificates renew themselves at two thirds of their life; later than this they did not. */
const certificateWarningMs = 30 * 24 * 3600 * 1000;

export interface Judgement {
  readonly verdict: StatusDocument['verdict'];
  readonly warnings: readonly string[];
}

/** `down`: nobody may serve the VIP. `degraded`: it is served, and something wants attention. */
export function statusWarnings(
  facts: StatusFacts,
  members: readonly MemberStatus[],
  failuresLeft: number | null,
): Judgement {
  const { view, local } = facts;
  if (view.removed) {
    const sentence = 'this node was removed from the cluster: `holdfast reset`, then join again';
    return { verdict: 'down', warnings: [sentence] };
  }
  if (!view.state.members.some((member) => member.id === view.selfId)) {
    const sentence = 'this node has joined and waits for the leader; is port 7443 reachable here?';
    return { verdict: 'unknown', warnings: [sentence, ...local.alarms] };
  }
  const faults = [
    ...unreachableMembers(members),
    ...backendFaults(facts),
    ...ownFaults(facts),
    ...unreachedVips(facts),
    ...local.alarms,
  ];
  const advice = [
    ...voterAdvice(members, failuresLeft),
    ...certificateAdvice(members, facts.wallNowMs),
  ];
  if (!view.quorum) {
    const way = recoveryAdvice(view, members);
    return { verdict: 'down', warnings: [noQuorumSentence(members), ...faults, ...way, ...advice] };
  }
  return { verdict: faults.length > 0 ? 'degraded' : 'healthy', warnings: [...faults, ...advice] };
}

function noQuorumSentence(members: readonly MemberStatus[]): string {
  const voters = members.filter((member) => member.role !== 'learner');
  const needed = Math.floor(voters.length / 2) + 1;
  const names = voters.map((voter) => voter.name).join(', ');
  return (
    `no quorum, so nobody serves the VIP: ${needed} of ${voters.length} voters (${names}) ` +
    'must run and reach each other on their gRPC port; start those that are down'
  );
}

/** The last resort, with its risk; from a node that can go on alone. */
function recoveryAdvice(view: ClusterView, members: readonly MemberStatus[]): string[] {
  const self = view.state.members.find((member) => member.id === view.selfId);
  const others = members.filter(({ id }) => id !== view.selfId).map(({ name }) => name);
  if (self?.joinsAs !== 'voter' || others.length === 0) return [];
  return [
    `only if the quorum is lost for good: stop this agent and run \`holdfast recover ` +
      `--force-new-cluster --fenced ${others.join(',')} --yes\` here; if one of these still ` +
      'runs, two hosts may hold the VIP, and what this host had not received is lost',
  ];
}

function unreachableMembers(members: readonly MemberStatus[]): string[] {
  return members
    .filter((member) => member.reachable === false)
    .map(
      ({ name, address }) =>
        `${name} (${address}) is not reachable: start its agent, or ` +
        `\`holdfast member remove ${name}\` if it is gone for good`,
    );
}

function backendFaults(facts: StatusFacts): string[] {
  return facts.local.frontends.flatMap((frontend) => {
    const down = frontend.backends.filter((backend) => backend.state === 'down');
    if (down.length === 0) {
      return frontend.backends.length === 0 ? [`${frontend.name} has no backend`] : [];
    }
    if (down.length === frontend.backends.length) {
      return [`no backend of ${frontend.name} answers: ${down[0]?.reason ?? ''}`];
    }
    return down.map(
      (backend) => `backend ${backend.name} of ${frontend.name} is down: ${backend.reason}`,
    );
  });
}

/** A leader that serves nothing is worth a sentence. */
function ownFaults(facts: StatusFacts): string[] {
  const { view, local } = facts;
  if (view.leader !== view.selfId) return [];
  return local.vips
    .filter((vip) => !vip.heldHere)
    .map((vip) => `this node leads and does not hold ${vip.address}: ${vip.reason}`);
}

/** What only others can notice: port security, ARP suppression, a wrong VLAN, a firewall. */
function unreachedVips(facts: StatusFacts): string[] {
  const { state } = facts.view;
  return currentObservations(facts)
    .filter(({ reached }) => !reached)
    .map(({ nodeId, address, reason }) => {
      const name = memberById(state, nodeId)?.name ?? nodeId;
      return `${name} does not reach ${address}: ${reason}`;
    });
}

function voterAdvice(members: readonly MemberStatus[], failuresLeft: number | null): string[] {
  const voters = members.filter((member) => member.role !== 'learner').length;
  const learners = members.filter((member) => member.role === 'learner');
  if (learners.length > 0 && voters % 2 === 1) {
    const names = learners.map((member) => member.name).join(', ');
    return [
      `${names} will vote once another host has joined: two voters would survive no failure; ` +
        '`holdfast join --role witness` on a third host is enough',
    ];
  }
  if (voters === 1) return ['one voter survives no failure: join two more hosts'];
  if (voters % 2 === 0) {
    return [
      `${voters} voters survive no more failures than ${voters - 1}: join another host, ` +
        'or a witness with `holdfast join --role witness`',
    ];
  }
  return failuresLeft === 0 ? ['the next failure of a voter stops the VIP'] : [];
}

function certificateAdvice(members: readonly MemberStatus[], wallNowMs: number): string[] {
  return members.flatMap(({ name, certExpires }) => {
    const expires = certExpires === null ? Number.NaN : Date.parse(certExpires);
    if (Number.isNaN(expires) || expires - wallNowMs > certificateWarningMs) return [];
    const when = isoTime(expires);
    const what = expires <= wallNowMs ? `expired at ${when}` : `expires at ${when}`;
    return [`the certificate of ${name} ${what}: \`holdfast cert renew\` there`];
  });
}
