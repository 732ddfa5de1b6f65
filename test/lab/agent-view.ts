/**
 * An agent's status straight from its socket: what `holdfast status` prints, without a process for
 * each look, and without the view that the command falls back to when the agent is slow to answer.
 */
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { StatusDocument } from '../../src/cluster/status-document.ts';
import { connectAdmin } from '../../src/rpc/admin-client.ts';
import { until } from './clock.ts';
import type { Host } from './host.ts';

export function statusOf(host: Host): Promise<StatusDocument> {
  return until(() => askStatus(host), {
    timeoutMs: 5_000,
    everyMs: 20,
    what: `the status of ${host.name}`,
  });
}

/** Asks once; rejects where no agent answers. */
export async function askStatus(host: Host): Promise<StatusDocument> {
  const agent = await connectAdmin({
    socketPath: join(host.dataDir, 'agent.sock'),
    clock: systemClock(),
  });
  try {
    return await agent.status({ linearizable: false });
  } finally {
    agent.close();
  }
}
