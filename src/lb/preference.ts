/**
 * Whom a frontend prefers: with `prefer: local`, the backend on this same host gets every new
 * connection while it may be chosen, so that in the kernel clients keep their addresses. Without
 * it, or while it may not be chosen, the scheduler has all the others. Pure, and the same for every
 * path: the worker asks for its lanes, the agent for the kernel.
 */
import type { DesiredFrontend, ForwardPlan } from './ports.ts';

/** The addresses of this host, without those that come and go with a VIP. */
export type HomeAddresses = ReadonlySet<string>;

/** The names of the backends that come before all others; none where nobody does. */
export function favouredBy(
  { prefer, backends }: Pick<DesiredFrontend, 'prefer' | 'backends'>,
  home: HomeAddresses,
): readonly string[] {
  if (prefer !== 'local') return [];
  return backends.filter(({ address }) => home.has(address)).map(({ name }) => name);
}

/** The favoured among those that may be chosen; all of them where no favoured one may be. */
export function firstChoice<T extends { readonly name: string }>(
  choosable: readonly T[],
  favoured: readonly string[],
): readonly T[] {
  const first = choosable.filter(({ name }) => favoured.includes(name));
  return first.length > 0 ? first : choosable;
}

/** A table in the kernel has no second choice: who comes after is not in the plan. */
export function preferring(plan: ForwardPlan, favoured: readonly string[]): ForwardPlan {
  const backends = firstChoice(plan.backends, favoured);
  return backends.length === plan.backends.length ? plan : { ...plan, backends };
}

/**
 * What the preference comes to on this host, for people; null where there is none.
 *
 * @param serving names of those that may be chosen; null while nobody knows
 */
export function preferenceInWords(
  { prefer }: Pick<DesiredFrontend, 'prefer'>,
  favoured: readonly string[],
  serving: readonly string[] | null,
): string | null {
  if (prefer !== 'local') return null;
  if (favoured.length === 0) return 'prefer local: no backend is on this host, so all take turns';
  const own = favoured.join(', ');
  if (serving === null) return `prefer local: ${own} first`;
  const first = serving.filter((name) => favoured.includes(name));
  if (first.length > 0) return `prefer local: new connections go to ${first.join(', ')}`;
  const rest = serving.length > 0 ? 'the others serve' : 'and neither may any other';
  return `prefer local: ${own} on this host may not be chosen, ${rest}`;
}
