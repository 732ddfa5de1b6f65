/**
 * The difference between what is wished and what is: pure, so that each pass can start from what
 * the kernel really has, and a missed event, a restart or somebody's `ip addr del` heal by the same
 * way.
 */
import { linkTrouble } from './placement.ts';
import type { Link, VipPlacement } from './ports.ts';

export interface Situation {
  readonly vips: readonly VipPlacement[];
  readonly links: readonly Link[];
  /** What the kernel has of ours. */
  readonly ours: readonly VipPlacement[];
  /** What this process believes to hold. */
  readonly held: readonly VipPlacement[];
}

export type Step =
  /** Ours, or held, and not wished any more: goes first, so that a move between links is a move. */
  | { readonly kind: 'withdraw'; readonly address: string; readonly reason: string }
  | { readonly kind: 'claim'; readonly vip: VipPlacement }
  /** Held, and taken away by somebody else. */
  | { readonly kind: 'restore'; readonly vip: VipPlacement }
  | { readonly kind: 'keep'; readonly vip: VipPlacement }
  /** Wished, allowed, and not possible now. */
  | { readonly kind: 'wait'; readonly vip: VipPlacement; readonly reason: string };

/** The steps to take, in this order, while the lease allows to hold. */
export function plan(situation: Situation): Step[] {
  const { vips, ours, held } = situation;
  const stale = [...ours, ...held].filter(
    (present) => !vips.some((vip) => samePlacement(vip, present)),
  );
  const leaving = new Set(stale.map((present) => present.address));
  return [
    ...[...leaving].map((address): Step => {
      return { kind: 'withdraw', address, reason: 'not wanted here any more' };
    }),
    ...vips.flatMap((vip) => stepsFor(vip, situation, leaving)),
  ];
}

function stepsFor(vip: VipPlacement, situation: Situation, leaving: ReadonlySet<string>): Step[] {
  // A stale twin on another link is withdrawn by address, so that this one goes with it.
  const cleared = leaving.has(vip.address);
  const present = !cleared && situation.ours.some((other) => samePlacement(vip, other));
  const held = !cleared && situation.held.some((other) => samePlacement(vip, other));
  // Without carrier an address harms nobody, and local clients may still use it.
  if (present && held) return [{ kind: 'keep', vip }];
  const reason = linkTrouble(vip.interface, situation.links);
  if (reason === null) return [held ? { kind: 'restore', vip } : { kind: 'claim', vip }];
  const wait: Step = { kind: 'wait', vip, reason };
  return present || held ? [{ kind: 'withdraw', address: vip.address, reason }, wait] : [wait];
}

/** Whether both are the same address on the same interface. */
export function samePlacement(left: VipPlacement, right: VipPlacement): boolean {
  return left.address === right.address && left.interface === right.interface;
}
