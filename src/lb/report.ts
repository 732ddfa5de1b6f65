/** What several workers report of one frontend, as one report. */
import type { LaneCounters } from './carrier-protocol.ts';
import type { BackendReport, FrontendReport } from './protocol.ts';

/**
 * @param reports of one frontend, the leader's first where it has one: the port and the verdicts
 *   are its own, the counts everybody's. Null for none.
 */
export function mergedReport(reports: readonly FrontendReport[]): FrontendReport | null {
  const [first, ...others] = reports;
  if (first === undefined || others.length === 0) return first ?? null;
  return {
    ...first,
    serving: reports.some(({ serving, port }) => serving && port === first.port),
    error: reports.find(({ error }) => error !== null)?.error ?? null,
    clients: reports.reduce((sum, { clients }) => sum + clients, 0),
    counters: reports.map(({ counters }) => counters).reduce(addCounters),
    backends: first.backends.map((backend) => withOthers(backend, others)),
  };
}

export function addCounters(left: LaneCounters, right: LaneCounters): LaneCounters {
  return {
    accepted: left.accepted + right.accepted,
    unserved: left.unserved + right.unserved,
    overLimit: left.overLimit + right.overLimit,
    connectFailures: left.connectFailures + right.connectFailures,
  };
}

function withOthers(backend: BackendReport, others: readonly FrontendReport[]): BackendReport {
  let { connections, totalConnections } = backend;
  for (const { backends } of others) {
    const same = backends.find(
      ({ name, address, port }) =>
        name === backend.name && address === backend.address && port === backend.port,
    );
    connections += same?.connections ?? 0;
    totalConnections += same?.totalConnections ?? 0;
  }
  return { ...backend, connections, totalConnections };
}
