/** One backend as a worker knows it: what is desired, how it fares, and what it carries. */
import { defined } from '../base/assert.ts';
import type { Millis, Timer } from '../base/clock.ts';
import { type Health, type LateAnswer, type Standing, standings, UNKNOWN } from './health.ts';
import type { DesiredBackend } from './ports.ts';
import type { BackendReport, BackendVerdict } from './protocol.ts';

/** Made anew when its address changes: nothing that was learned of the old one holds. */
export interface Backend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  desired: DesiredBackend;
  health: Health;
  /** What follows from the health of all backends together. */
  standing: Standing;
  sinceWallMs: number;
  connections: number;
  totalConnections: number;
  /** The next probe, while none is under way. */
  timer: Timer | null;
  /** The probe under way. */
  probe: AbortController | null;
  /** What an earlier probe still waits for; one at a time. */
  late: LateAnswer | null;
  /** When the last probe began. */
  probedAt: Millis;
}

export function newBackend(desired: DesiredBackend, nowWallMs: number): Backend {
  const { name, address, port } = desired;
  const [standing] = standings([{ draining: takesNothing(desired), health: UNKNOWN }]);
  return {
    name,
    address,
    port,
    desired,
    health: UNKNOWN,
    standing: defined(standing, 'the standing of a new backend'),
    sinceWallMs: nowWallMs,
    connections: 0,
    totalConnections: 0,
    timer: null,
    probe: null,
    late: null,
    probedAt: Number.NEGATIVE_INFINITY,
  };
}

export function sameEndpoint(
  backend: Backend,
  { address, port }: Pick<DesiredBackend, 'address' | 'port'>,
): boolean {
  return backend.address === address && backend.port === port;
}

/** Weight 0 is another way to say draining, whatever the scheduler. */
export function takesNothing(desired: DesiredBackend): boolean {
  return desired.draining || desired.weight <= 0;
}

export function viewOf(backend: Backend): BackendReport {
  return {
    name: backend.name,
    address: backend.address,
    port: backend.port,
    weight: backend.desired.weight,
    state: backend.standing.state,
    sinceWallMs: backend.sinceWallMs,
    reason: backend.standing.reason,
    connections: backend.connections,
    totalConnections: backend.totalConnections,
    judged: backend.health.verdict !== 'unknown',
    gone: backend.health.gone,
  };
}

export function verdictOf({ name, address, port, health, sinceWallMs }: Backend): BackendVerdict {
  return { name, address, port, health, sinceWallMs };
}
