/** Renewal at two thirds of a life, for the same key; a failure is tried again. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { silentLogger } from '../../../src/base/log.ts';
import { readPki, writePki } from '../../../src/pki/files.ts';
import {
  createCa,
  createKey,
  createRequest,
  issueNodeCertificate,
} from '../../../src/pki/issue.ts';
import { Renewal } from '../../../src/pki/renewal.ts';

const bornMs = Date.parse('2026-03-01T12:00:00Z');
const dayMs = 86_400_000;
const ca = await createCa({ clusterName: 'prod', wallNowMs: bornMs });

async function stage(t: TestContext, nowMs: number, failures = 0) {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-renewal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const key = createKey();
  const ids = { clusterId: 'c1', nodeId: 'a1', name: 'n1' };
  const issue = (csr: string, wallNowMs: number) =>
    issueNodeCertificate({ ca, csr, ...ids, wallNowMs });
  const certificate = await issue(await createRequest({ key, name: 'n1' }), bornMs);
  writePki(folder, { caCertificate: ca.certificate, caKey: null, certificate, key });
  const delays: number[] = [];
  let next: (() => void) | null = null;
  let left = failures;
  let renewals = 0;
  const renewal = new Renewal({
    clock: {
      now: () => 0,
      wallNow: () => nowMs,
      after: (delayMs, callback) => {
        delays.push(delayMs);
        next = callback;
        return { cancel: () => undefined };
      },
    },
    log: silentLogger,
    folder,
    keys: { certificate, key },
    name: 'n1',
    sign: async (csr) => {
      if (left-- > 0) throw new Error('no leader');
      return issue(csr, nowMs);
    },
    onRenewed: () => {
      renewals++;
    },
  });
  t.after(() => renewal.stop());
  /** Waits until the renewal has decided when to look again. */
  const decided = async (): Promise<void> => {
    for (const before = delays.length; delays.length === before; ) await wait(1);
  };
  return {
    folder,
    key,
    renewal,
    delays,
    decided,
    renewals: () => renewals,
    again: () => next?.(),
  };
}

describe('Renewal', () => {
  it('leaves a certificate alone before two thirds of its life', async (t) => {
    const { renewal, renewals, delays } = await stage(t, bornMs + 200 * dayMs);
    renewal.start();

    assert.deepEqual(delays, [3_600_000]);
    assert.equal(renewals(), 0);
  });

  it('renews after two thirds: same key, on disk before it is used', async (t) => {
    const nowMs = bornMs + 250 * dayMs;
    const { folder, key, renewal, renewals, decided } = await stage(t, nowMs);
    const done = decided();
    renewal.start();
    await done;

    assert.equal(renewals(), 1);
    assert.equal(renewal.certificate.notAfterMs, nowMs + 365 * dayMs);
    assert.equal(readPki(folder).key, key);
  });

  it('renews what has expired while the host was off', async (t) => {
    const { renewal, renewals, decided } = await stage(t, bornMs + 800 * dayMs);
    const done = decided();
    renewal.start();
    await done;

    assert.equal(renewals(), 1);
  });

  it('tries again within a minute after a failure', async (t) => {
    const { renewal, renewals, delays, decided, again } = await stage(t, bornMs + 300 * dayMs, 1);
    const failed = decided();
    renewal.start();
    await failed;
    assert.deepEqual(delays, [60_000]);

    const renewed = decided();
    again();
    await renewed;
    assert.equal(renewals(), 1);
  });
});
