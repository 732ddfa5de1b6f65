/** The way to the agent of this host: gRPC over its admin socket, loaded when it is needed. */
import type { Clock } from '../base/clock.ts';
import type { Paths } from '../config/paths.ts';
import type { AgentConnection } from './context.ts';

/** @throws OperatingError `agent-down`, `permission-denied`, here or with the first question */
export async function connectAgent(paths: Paths, clock: Clock): Promise<AgentConnection> {
  const { connectAdmin } = await import('../rpc/admin-client.ts');
  return connectAdmin({ socketPath: paths.socket, clock });
}
