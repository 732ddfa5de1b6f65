/**
 * How the heartbeats, promises and leases of LEASE are timed, and what follows from them. The
 * profiles trade the speed of a failover against patience with slow hosts and links.
 */
import type { Timing } from '../raft/types.ts';
import type { TimingProfile } from './spec.ts';

/** Bound on the error of a clock's rate (rho); NTP-free monotonic clocks are far better. */
export const clockDrift = 0.01;

/** Outside of these, no follower accepts a promise (rule R3). */
export const promiseMsRange = { low: 100, high: 5000 } as const;

/** How long before the deadline the agent lets go by itself (rule R10). */
export const agentMarginMs = 60;

const profiles: Readonly<Record<Exclude<TimingProfile, 'auto'>, Timing>> = {
  lan: { heartbeatMs: 30, promiseMs: 230, jitterMs: 60 },
  balanced: { heartbeatMs: 50, promiseMs: 400, jitterMs: 150 },
  wan: { heartbeatMs: 75, promiseMs: 600, jitterMs: 200 },
};

/** The values of a profile. `auto` begins as `balanced`; timing-choice.ts says how it goes on. */
export function timingOf(timing: TimingProfile | Timing): Timing {
  if (typeof timing !== 'string') return timing;
  return profiles[timing === 'auto' ? 'balanced' : timing];
}

/** The name to show for a timing: its profile, or `custom`. */
export function timingName(timing: TimingProfile | Timing): string {
  return typeof timing === 'string' ? timing : 'custom';
}

/** L(E): how long a leader may rely on a promise of E made at its heartbeat's *send*. */
export function leaseMs(promiseMs: number): number {
  return Math.floor((promiseMs * (1 - clockDrift)) / (1 + clockDrift));
}

/** What is wrong with explicit values, one line for each problem, as `field: what it must be`. */
export function timingProblems(timing: Timing): string[] {
  const { heartbeatMs, promiseMs, jitterMs } = timing;
  const { low, high } = promiseMsRange;
  const problems: string[] = [];
  if (promiseMs < low || promiseMs > high) {
    problems.push(`promise: must be ${low}ms to ${high}ms (is ${promiseMs}ms)`);
  }
  if (heartbeatMs < 10) problems.push(`heartbeat: must be at least 10ms (is ${heartbeatMs}ms)`);
  // Two lost heartbeats in a row must not cost the lease.
  if (heartbeatMs * 3 > promiseMs) {
    problems.push(
      `heartbeat: must be at most a third of promise (is ${heartbeatMs}ms, promise ${promiseMs}ms)`,
    );
  }
  if (jitterMs < 10 || jitterMs > 5000) {
    problems.push(`jitter: must be 10ms to 5000ms (is ${jitterMs}ms)`);
  }
  // What is left of the lease once the agent's margin is taken must outlive a heartbeat.
  if (leaseMs(promiseMs) - agentMarginMs < heartbeatMs) {
    problems.push(`promise: leaves no lease beside the margin of ${agentMarginMs}ms`);
  }
  return problems;
}
