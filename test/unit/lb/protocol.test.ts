/** The gateway between agent and worker: what is well formed passes whole, all else is named. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { type Health, UNKNOWN } from '../../../src/lb/health.ts';
import {
  type Failed,
  type FromWorker,
  parseFromWorker,
  parseToWorker,
  type ToWorker,
  type Verdicts,
} from '../../../src/lb/protocol.ts';
import { frontendOf } from './world.ts';

const BACKEND = {
  name: 'n1',
  address: '10.0.0.11',
  port: 6443,
  weight: 1,
  draining: false,
  mode: 'masquerade',
} as const;

const HEALTH: Health = { ...UNKNOWN, verdict: 'down', misses: 2, gone: true };

const SHARED: readonly (Failed | Verdicts)[] = [
  {
    kind: 'verdicts',
    verdicts: [
      {
        frontend: 'api',
        backends: [
          { name: 'n1', address: '10.0.0.11', port: 6443, health: HEALTH, sinceWallMs: 1 },
        ],
      },
    ],
  },
  {
    kind: 'failed',
    frontend: 'api',
    backend: 'n1',
    failure: { kind: 'refused', reason: 'ECONNREFUSED' },
  },
];

const TO_WORKER: readonly ToWorker[] = [
  { kind: 'assign', leads: true, assignments: [] },
  {
    kind: 'assign',
    leads: false,
    assignments: [
      { frontend: frontendOf([BACKEND]), carries: true, preferredPort: 40_000, favoured: ['n1'] },
    ],
  },
  { kind: 'release', address: '10.0.0.100' },
  { kind: 'drain', graceMs: 0 },
  { kind: 'ping' },
  ...SHARED,
];

const FROM_WORKER: readonly FromWorker[] = [
  {
    kind: 'report',
    frontends: [
      {
        name: 'api',
        port: 40_000,
        serving: true,
        error: null,
        clients: 1,
        counters: { accepted: 1, unserved: 0, overLimit: 0, connectFailures: 0 },
        backends: [
          {
            ...{ name: 'n1', address: '10.0.0.11', port: 6443, weight: 1, state: 'up' },
            ...{ sinceWallMs: 1, reason: '200 OK', connections: 1, totalConnections: 1 },
            judged: true,
            gone: false,
          },
        ],
      },
    ],
  },
  { kind: 'log', level: 'info', event: 'lb.backend', fields: { backend: 'n1' } },
  { kind: 'pong' },
  ...SHARED,
];

/** Every copy of `value` in which one field, at any depth, is replaced by `intruder`. */
function* corruptions(value: unknown, intruder: unknown): Generator<unknown> {
  if (typeof value !== 'object' || value === null) return;
  for (const [name, field] of Object.entries(value)) {
    // What a log line carries is nobody's business but the log's.
    if (name === 'fields') continue;
    const copy = (replacement: unknown): unknown =>
      Array.isArray(value)
        ? value.map((item, index) => (String(index) === name ? replacement : item))
        : { ...value, [name]: replacement };
    yield copy(intruder);
    for (const inner of corruptions(field, intruder)) yield copy(inner);
  }
}

for (const [name, parse, samples] of [
  ['parseToWorker()', parseToWorker, TO_WORKER],
  ['parseFromWorker()', parseFromWorker, FROM_WORKER],
] as const) {
  suite(name, () => {
    test('passes every message through JSON unchanged', () => {
      for (const sample of samples) {
        assert.deepEqual(parse(JSON.parse(JSON.stringify(sample))), sample);
      }
    });

    test('refuses a message with any one field of another type', () => {
      let count = 0;
      for (const sample of samples) {
        for (const bad of corruptions(sample, undefined)) {
          assert.ok('invalid' in parse(bad), JSON.stringify(bad));
          count++;
        }
      }
      assert.ok(count > 5);
    });

    test('never throws, whatever comes', () => {
      fc.assert(
        fc.property(fc.anything(), (message) => {
          assert.ok('invalid' in parse(message) || samples.length > 0);
        }),
      );
    });
  });
}
