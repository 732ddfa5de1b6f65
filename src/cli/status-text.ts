/**
 * The status document as a page for the person who was woken up: the first line says whether the
 * address is served, by whom, since when and why, how many failures are left, and what to do next.
 * Pure; golden texts in the tests.
 */
import { unreachable } from '../base/assert.ts';
import type {
  FrontendStatus,
  MemberStatus,
  StatusDocument,
  VipStatus,
} from '../cluster/status-document.ts';
import { count, shortTime, span, table } from './table.ts';

/** At most this many of the newest changes of holder are shown. */
const shownTransitions = 5;

/** @param wallNowMs for ages, ms since 1970 */
export function statusText(document: StatusDocument, wallNowMs: number): string {
  const sections = [
    `${headline(document, wallNowMs)}\n`,
    warningsText(document),
    `${viewLine(document)}\n`,
    document.members.length === 0 ? '' : memberTable(document.members),
    document.vips.length === 0 ? '' : vipTable(document.vips),
    frontendsText(document.frontends),
    transitionsText(document),
  ];
  return sections.filter((section) => section !== '').join('\n');
}

/** The one line that answers the question; also what `--check` prints. */
export function headline(document: StatusDocument, wallNowMs: number): string {
  const parts = [
    document.vips.length === 0
      ? noVipPhrase(document)
      : document.vips.map((vip) => vipPhrase(vip, document, wallNowMs)).join(', '),
    failuresPhrase(document),
    nextPhrase(document),
  ];
  return `${verdictWord(document.verdict)}: ${parts.filter((part) => part !== '').join('; ')}`;
}

/** An agent that is down knows no VIP, which is not the same as there being none. */
function noVipPhrase({ view }: StatusDocument): string {
  return view.kind === 'offline' ? 'what is served is not known here' : 'no VIP is configured';
}

function verdictWord(verdict: StatusDocument['verdict']): string {
  switch (verdict) {
    case 'healthy':
      return 'HEALTHY';
    case 'degraded':
      return 'DEGRADED';
    case 'down':
      return 'DOWN';
    case 'unknown':
      return 'UNKNOWN';
    default:
      return unreachable(verdict);
  }
}

function vipPhrase(vip: VipStatus, document: StatusDocument, wallNowMs: number): string {
  const why = vip.reason === '' ? '' : ` (${vip.reason})`;
  if (vip.holder === null) {
    const verb = document.view.kind === 'offline' ? 'is not known to be served' : 'is NOT served';
    return vip.heldHere
      ? `${vip.address} is held by this host${why}`
      : `${vip.address} ${verb}${why}`;
  }
  const here = vip.holder === document.self.name ? ' (this host)' : '';
  const since = sincePhrase(vip.since, wallNowMs);
  return `${vip.address} is served by ${vip.holder}${here}${since}${why}`;
}

function sincePhrase(since: string | null, wallNowMs: number): string {
  if (since === null) return '';
  const at = Date.parse(since);
  const age = Number.isNaN(at) ? '' : `, for ${span(wallNowMs - at)}`;
  return ` since ${shortTime(since)}${age}`;
}

function failuresPhrase({ cluster, warnings }: StatusDocument): string {
  if (cluster.quorum === false) return warnings.length > 0 ? '' : 'the quorum is lost';
  if (cluster.failuresLeft === null) return '';
  if (cluster.failuresLeft === 0) return 'it survives no further failure';
  return `it survives ${count(cluster.failuresLeft, 'more failure')}`;
}

function nextPhrase({ verdict, warnings }: StatusDocument): string {
  const [first] = warnings;
  if (first !== undefined) return first.replace(/\.$/, '');
  return verdict === 'healthy' ? 'nothing to do' : '';
}

function warningsText({ warnings }: StatusDocument): string {
  return warnings.length < 2 ? '' : `${warnings.map((line) => `! ${line}`).join('\n')}\n`;
}

function viewLine({ cluster, self, view }: StatusDocument): string {
  const facts = [
    cluster.name === '' ? '' : `cluster ${cluster.name}`,
    `leader ${cluster.leader ?? 'unknown'}`,
    cluster.term === null ? '' : `term ${cluster.term}`,
    cluster.revision === null ? '' : `revision ${cluster.revision}`,
    self.role === null ? '' : `${self.name} is ${self.role}`,
    cluster.timing === null ? '' : `timing ${cluster.timing.profile}`,
    self.eligible === false ? `not eligible: ${self.reason}` : '',
    self.fences.length === 0 ? '' : `fences ${self.fences.join(', ')}`,
    `view ${view.kind}, ${span(view.ageMs)} old`,
  ];
  return facts.filter((fact) => fact !== '').join(' · ');
}

/** The table of `member list`, which `status` shows too. */
export function memberTable(members: readonly MemberStatus[]): string {
  return table(
    ['member', 'address', 'role', 'reachable', 'last contact', 'version', 'certificate until'],
    members.map((member) => [
      member.name,
      member.address,
      roleText(member),
      yesNo(member.reachable),
      member.lastContactMs === null ? '' : span(member.lastContactMs),
      member.version ?? '',
      member.certExpires === null ? '' : shortTime(member.certExpires),
    ]),
  );
}

/** The role, with what an operator decided beside it. */
function roleText({ role, priority, draining }: MemberStatus): string {
  const notes = [draining ? 'drained' : '', priority === 0 ? '' : `priority ${priority}`];
  return [role, ...notes.filter((note) => note !== '')].join(', ');
}

/** The table of `vip list`, which `status` shows too. */
export function vipTable(vips: readonly VipStatus[]): string {
  const from = (vip: VipStatus) => (vip.interfaceFrom === null ? '' : ` (${vip.interfaceFrom})`);
  return table(
    ['vip', 'interface', 'holder', 'since', 'reached by', 'why'],
    vips.map((vip) => [
      vip.address,
      vip.interface === null ? '' : `${vip.interface}${from(vip)}`,
      vip.holder ?? '',
      vip.since === null ? '' : shortTime(vip.since),
      reachedBy(vip),
      vip.reason,
    ]),
  );
}

/** Members that reach the VIP, and in capitals those that do not. */
function reachedBy({ observedBy }: VipStatus): string {
  const all = Object.entries(observedBy);
  const names = all.flatMap(([name, reached]) => {
    if (reached === null) return [];
    return reached ? [name] : [`NOT ${name}`];
  });
  return names.join(', ');
}

function frontendsText(frontends: readonly FrontendStatus[]): string {
  return frontends
    .map((frontend) => {
      const at = frontend.address.includes(':') ? `[${frontend.address}]` : frontend.address;
      const path = `${frontend.dataPath} (${frontend.dataPathReason})`;
      const backends = frontend.backends.length === 0 ? '' : backendTable(frontend);
      return `${frontend.name} ${at}:${frontend.port} by ${path}\n${backends}`;
    })
    .join('\n');
}

/** The table of `backend list`, which `status` shows for each frontend. */
export function backendTable({ backends }: FrontendStatus): string {
  return table(
    ['backend', 'address', 'weight', 'state', 'since', 'connections', 'why'],
    backends.map((backend) => [
      backend.name,
      `${backend.address.includes(':') ? `[${backend.address}]` : backend.address}:${backend.port}`,
      String(backend.weight),
      backend.state ?? '',
      backend.since === null ? '' : shortTime(backend.since),
      backend.connections === null
        ? ''
        : `${backend.connections} (${backend.totalConnections ?? '?'} ever)`,
      backend.reason,
    ]),
  );
}

function transitionsText({ transitions }: StatusDocument): string {
  if (transitions.length === 0) return '';
  const lines = transitions.slice(0, shownTransitions).map((change) => {
    const way = `${change.from ?? 'nobody'} → ${change.to ?? 'nobody'}`;
    return `${shortTime(change.at)}  ${change.vip}  ${way}  ${change.reason}`.trimEnd();
  });
  return `${lines.join('\n')}\n`;
}

function yesNo(value: boolean | null): string {
  if (value === null) return '';
  return value ? 'yes' : 'NO';
}
