// A node tells the leader what changed of itself, once, and again until the record says so.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { silentLogger } from '../../../src/base/log.ts';
import type { ClusterNode } from '../../../src/cluster/node.ts';
import type { SelfReport } from '../../../src/cluster/operations.ts';
import { SelfReporter } from '../../../src/cluster/self-report.ts';
import { emptyState, type Member } from '../../../src/cluster/state.ts';

const facts = {
  version: '1.0.0',
  formatVersion: 1,
  address: '10.0.0.11:7443',
  certExpires: '2027-01-01T00:00:00.000Z',
  macs: ['02:00:00:00:00:01'],
};
const member = { id: 'a', name: 'n1', ...facts } as unknown as Member;

function stage(known: Partial<Member>, fails = 0) {
  let record: Member = { ...member, ...known };
  let failures = fails;
  const reports: SelfReport[] = [];
  const timers: (() => void)[] = [];
  const reporter = new SelfReporter({
    clock: {
      now: () => 0,
      wallNow: () => 0,
      after: (_delay, callback) => {
        timers.push(callback);
        return { cancel: () => undefined };
      },
    },
    log: silentLogger,
    node: {
      view: () => ({ state: { ...emptyState, members: [record] }, selfId: 'a', leader: 'b' }),
      onView: () => () => undefined,
    } as unknown as ClusterNode,
    report: async (report) => {
      reports.push(report);
      if (failures-- > 0) throw new Error('no leader');
      record = { ...record, ...report, id: 'a' };
    },
    facts: () => facts,
  });
  return {
    reporter,
    reports,
    retry: async () => {
      await turn();
      timers.shift()?.();
      await turn();
    },
  };
}

describe('SelfReporter', () => {
  it('says nothing where the record is true', async () => {
    const { reporter, reports, retry } = stage({});
    reporter.start();
    await retry();

    assert.deepEqual(reports, []);
  });

  it('reports what differs, once', async () => {
    const { reporter, reports, retry } = stage({ version: '0.9.0' });
    reporter.start();
    reporter.look();
    await retry();

    assert.deepEqual(reports, [{ nodeId: 'a', ...facts }]);
  });

  it('tries again after a failure', async () => {
    const { reporter, reports, retry } = stage({ macs: [] }, 2);
    reporter.start();
    await retry();
    await retry();
    await retry();

    assert.equal(reports.length, 3);
  });
});
