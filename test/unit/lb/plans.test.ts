/** What the verdicts mean for the kernel: who is in the plan, and how he is reached. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planOf } from '../../../src/lb/plans.ts';
import type { DesiredBackend } from '../../../src/lb/ports.ts';
import type { BackendReport, FrontendReport } from '../../../src/lb/protocol.ts';
import { frontendOf } from './world.ts';

const MODES = ['masquerade', 'direct', 'tunnel'] as const;
const BACKENDS = MODES.map((mode, index): DesiredBackend => {
  const address = `10.0.0.2${index}`;
  return { name: `${address}:6443`, address, port: 6443, weight: index + 1, draining: false, mode };
});
const FRONTEND = frontendOf(BACKENDS, { dataPath: 'ipvs' });

function report(...states: readonly BackendReport['state'][]): FrontendReport {
  const counts = { connections: 0, totalConnections: 0, sinceWallMs: 1 };
  return {
    ...{ name: FRONTEND.name, port: 0, serving: false, error: null, clients: 0 },
    counters: { accepted: 0, unserved: 0, overLimit: 0, connectFailures: 0 },
    backends: BACKENDS.map(({ name, address, port, weight }, index) => ({
      ...{ name, address, port, weight, ...counts },
      ...{ state: states[index] ?? 'up', reason: '', judged: true, gone: false },
    })),
  };
}

test('planOf() reaches each backend in its own mode', () => {
  const { backends } = planOf(FRONTEND, report('up', 'up', 'up'), undefined);

  assert.deepEqual(
    backends,
    BACKENDS.map(({ draining: _, ...backend }) => backend),
  );
});

test('planOf() leaves out who may not be chosen, and keeps whom nobody has judged', () => {
  const first = planOf(FRONTEND, report('up', 'down', 'degraded'), undefined);

  assert.deepEqual(
    first.backends.map(({ mode }) => mode),
    ['masquerade', 'tunnel'],
  );
  assert.deepEqual(planOf(FRONTEND, undefined, first).backends, first.backends);
});
