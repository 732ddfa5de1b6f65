/**
 * What the probes' results add up to. Each backend has a verdict that only `rise` or `fall` results
 * in a row can turn, so that one lost packet does not move traffic; and all verdicts together
 * decide who serves, by one rule above the rest: a health check may steer traffic, never refuse all
 * of it. While no backend is up, those that still accept TCP go on serving, as `degraded`.
 *
 * Pure: results go in, new values come out; an unchanged value is the same object.
 */
import type { BackendState } from './ports.ts';

export interface ProbeResult {
  /** A TCP connection was established, whatever came of it afterwards. */
  readonly acceptsTcp: boolean;
  readonly healthy: boolean;
  /** For people: `200 OK`, `connect refused`. */
  readonly reason: string;
  /** Connected, but not answered in time; absent where no answer was wanted, or one came. */
  readonly late?: LateAnswer;
}

/** An answer that is still waited for, long after it has stopped to count as healthy. */
export interface LateAnswer {
  /** Whether something came after all, before all patience ended. */
  readonly came: Promise<boolean>;
  giveUp(): void;
}

/** A connection of a client that could not be established. */
export interface ConnectFailure {
  /**
   * `refused`: the backend, or the network for it, said no. `timeout`: silence, which one lost
   * packet explains as well. `local`: this host could not even try, which says nothing about the
   * backend.
   */
  readonly kind: 'refused' | 'timeout' | 'local';
  readonly reason: string;
}

/** Results in a row that turn the verdict; both at least 1. */
export interface Thresholds {
  readonly rise: number;
  readonly fall: number;
}

export interface Health {
  /** `unknown` until the first result, which decides alone. */
  readonly verdict: 'unknown' | 'up' | 'down';
  /** What the last probe or refusal showed. */
  readonly acceptsTcp: boolean;
  /** The last connection failed: clients try it after the others. */
  readonly suspect: boolean;
  /** Results in a row against the verdict. Invariant: less than the threshold that turns it. */
  readonly streak: number;
  /** Connections in a row that were not established. Invariant: at most `fall`. */
  readonly misses: number;
  /**
   * It does not answer any more, so that its established connections are worth nothing: `fall`
   * connections in a row were not established, or all patience with an answer has ended. A server
   * that answers badly or slowly is not gone: whoever lost a connection to it would come back with
   * a dearer one.
   */
  readonly gone: boolean;
  readonly reason: string;
}

export const UNKNOWN: Health = {
  verdict: 'unknown',
  acceptsTcp: false,
  suspect: false,
  streak: 0,
  misses: 0,
  gone: false,
  reason: 'no probe has ended yet',
};

/** `health` after one more result. */
export function afterProbe(health: Health, result: ProbeResult, thresholds: Thresholds): Health {
  const told = result.healthy ? 'up' : 'down';
  const base = {
    acceptsTcp: result.acceptsTcp,
    suspect: !result.acceptsTcp,
    ...presence(health, result, thresholds.fall),
  };
  const turned: Health = { ...base, verdict: told, streak: 0, reason: result.reason };
  if (health.verdict === 'unknown' || health.verdict === told) return unlessSame(health, turned);
  const needed = result.healthy ? thresholds.rise : thresholds.fall;
  const streak = health.streak + 1;
  if (streak >= needed) return turned;
  const reason = `${result.reason} (${streak} of ${needed} before it counts as ${told})`;
  return { ...base, verdict: health.verdict, streak, reason };
}

function presence(
  health: Health,
  { acceptsTcp, late }: ProbeResult,
  fall: number,
): Pick<Health, 'misses' | 'gone'> {
  // Where nothing is probed, nothing would ever find the backend again.
  if (!Number.isFinite(fall)) return { misses: 0, gone: false };
  if (acceptsTcp) return { misses: 0, gone: late !== undefined && health.gone };
  const misses = Math.min(health.misses + 1, fall);
  return { misses, gone: health.gone || misses >= fall };
}

/** `health` after all patience with an answer has ended. */
export function afterSilence(health: Health): Health {
  return unlessSame(health, { ...health, gone: true });
}

/**
 * `health` after a client's connection failed. A refusal counts like a failed probe. Silence only
 * makes the backend suspect: on a network that loses packets, busy clients would else outvote the
 * probes.
 */
export function afterConnectFailure(
  health: Health,
  failure: ConnectFailure,
  thresholds: Thresholds,
): Health {
  if (failure.kind === 'local') return health;
  if (failure.kind === 'timeout') return unlessSame(health, { ...health, suspect: true });
  const result = { acceptsTcp: false, healthy: false, reason: failure.reason };
  return afterProbe(health, result, thresholds);
}

/** `health` after a client's connection was established. */
export function afterConnect(health: Health): Health {
  return unlessSame(health, { ...health, suspect: false });
}

/** What one backend is to new connections. */
export interface Standing {
  readonly state: BackendState;
  /** May be given new connections. */
  readonly usable: boolean;
  /** Usable, and not suspect: tried before those that are. */
  readonly preferred: boolean;
  readonly reason: string;
}

export interface Member {
  /** Takes no new connection: drained, or of weight 0. */
  readonly draining: boolean;
  readonly health: Health;
}

/** The standing of each of `members`, in their order; they depend on each other by `degraded`. */
export function standings(members: readonly Member[]): Standing[] {
  const someUp = members.some((member) => !member.draining && member.health.verdict === 'up');
  return members.map(({ draining, health }) => {
    const reason = health.reason;
    if (draining) return idle('draining', `draining; ${reason}`);
    const preferred = !health.suspect;
    if (health.verdict === 'up') return { state: 'up', usable: true, preferred, reason };
    if (someUp || !health.acceptsTcp) return idle('down', reason);
    const why = `${reason}; serves because no backend is up and it accepts TCP`;
    return { state: 'degraded', usable: true, preferred, reason: why };
  });
}

function idle(state: BackendState, reason: string): Standing {
  return { state, usable: false, preferred: false, reason };
}

function unlessSame(before: Health, after: Health): Health {
  const same =
    before.verdict === after.verdict &&
    before.acceptsTcp === after.acceptsTcp &&
    before.suspect === after.suspect &&
    before.streak === after.streak &&
    before.misses === after.misses &&
    before.gone === after.gone &&
    before.reason === after.reason;
  return same ? before : after;
}
