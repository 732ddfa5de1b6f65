/**
 * What the worker's verdicts mean for a path in the kernel. Pure. Who has not been probed yet (by a
 * worker that has just taken the place of another) is what he was before: a verdict that is missing
 * moves no traffic.
 */
import type { DesiredFrontend, ForwardBackend, ForwardPlan } from './ports.ts';
import type { FrontendReport } from './protocol.ts';

export function planOf(
  frontend: DesiredFrontend,
  report: FrontendReport | undefined,
  before: ForwardPlan | undefined,
): ForwardPlan {
  const { name, address, port, protocol, scheduler } = frontend;
  const backends = frontend.backends.flatMap((desired): ForwardBackend[] => {
    const sameEndpoint = (each: { readonly address: string; readonly port: number }): boolean =>
      each.address === desired.address && each.port === desired.port;
    const seen = report?.backends.find((each) => each.name === desired.name && sameEndpoint(each));
    const wasUsable = before?.backends.some(sameEndpoint) === true;
    const isServing = seen?.state === 'up' || seen?.state === 'degraded';
    const isUsable = seen?.judged === true ? isServing : wasUsable && seen?.state !== 'draining';
    if (!isUsable) return [];
    const { draining: _, ...backend } = desired;
    return [backend];
  });
  return { name, address, port, protocol, scheduler, backends };
}
