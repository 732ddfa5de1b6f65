/** What is checked of a request before anything is proposed. */
import { OperatingError } from '../base/errors.ts';
import { hostOf } from './assign.ts';
import { formatDuration } from './duration.ts';
import type { CreateTokenRequest } from './operations.ts';
import type { Spec } from './spec.ts';
import type { ParsedDocument } from './spec-schema.ts';
import type { ClusterState, Member } from './state.ts';

/** A token is for joining soon; a year is already generous. */
export const tokenTtlMs = { low: 1_000, high: 366 * 24 * 3600 * 1000 } as const;
const maxTokenUses = 1000;
const maxDescriptionChars = 200;

/** @throws OperatingError `bad-request` */
export function checkTokenRequest(request: CreateTokenRequest): void {
  const { ttlMs, uses, description } = request;
  const { low, high } = tokenTtlMs;
  if (!(ttlMs >= low && ttlMs <= high)) {
    throw badRequest(`a token lives ${formatDuration(low)} to ${formatDuration(high)}`);
  }
  if (uses !== null && !(Number.isInteger(uses) && uses >= 1 && uses <= maxTokenUses)) {
    throw badRequest(`a token is good for 1 to ${maxTokenUses} joins`);
  }
  if (description.length > maxDescriptionChars) {
    throw badRequest(`a description has at most ${maxDescriptionChars} letters`);
  }
}

/**
 * Refuses a document that was written for another cluster or against a spec that changed since.
 *
 * @throws OperatingError `wrong-cluster`, `stale-revision`
 */
export function checkSpecRevision(state: ClusterState, parsed: ParsedDocument): void {
  if (parsed.clusterName !== null && parsed.clusterName !== state.clusterName) {
    throw new OperatingError({
      code: 'wrong-cluster',
      message: `the document is for ${parsed.clusterName}, but this is ${state.clusterName}`,
      hint: 'correct metadata.name, or apply it to the other cluster; nothing was changed',
      facts: { found: parsed.clusterName, expected: state.clusterName },
    });
  }
  if (parsed.revision === null || parsed.revision === state.specRevision) return;
  throw new OperatingError({
    code: 'stale-revision',
    message: `the spec is at revision ${state.specRevision}, not ${parsed.revision}`,
    hint: 'read it again with `holdfast get spec` and repeat the change',
    facts: { revision: state.specRevision, expected: parsed.revision },
  });
}

/**
 * Refuses to reach a member untranslated: it would need the VIP as an address of its own, and be a
 * second holder.
 *
 * @throws OperatingError `member-untranslated`
 */
export function checkUntranslated(
  { members }: { readonly members: readonly Pick<Member, 'name' | 'address'>[] },
  { frontends }: Pick<Spec, 'frontends'>,
): void {
  for (const { name: frontend, backends } of frontends) {
    for (const { address, port, mode } of backends.static) {
      const member = members.find((each) => hostOf(each.address) === address);
      if (member === undefined || mode === 'masquerade') continue;
      throw new OperatingError({
        code: 'member-untranslated',
        message: `${frontend}: ${address} is ${member.name}, and no member is reached by ${mode}`,
        hint: 'leave its mode out, or let it be a backend as a member; nothing was changed',
        facts: { frontend, member: member.name, address, port, mode },
      });
    }
  }
}

function badRequest(message: string): OperatingError {
  return new OperatingError({
    code: 'bad-request',
    message,
    hint: 'nothing was changed; correct it and try again',
  });
}
