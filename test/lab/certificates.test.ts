/** Certificates that fail only on time do not stop a known member: it is known by its key. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRequest, issueNodeCertificate, nodeLifeMs } from '../../src/pki/issue.ts';
import type { Host } from './host.ts';
import { type Scene, scenarios } from './scene.ts';

const scenario = scenarios({});
const dayMs = 24 * 60 * 60 * 1_000;

/** Replaces the host's certificate by one for the same key as the cluster signed it at `wallMs`. */
async function reissue(scene: Scene, host: Host, wallMs: number): Promise<void> {
  const read = (name: string): string => readFileSync(join(host.dataDir, 'pki', name), 'utf8');
  const status = await scene.cluster.status(host);
  const certificate = await issueNodeCertificate({
    ca: { certificate: read('ca.crt'), key: read('ca.key') },
    csr: await createRequest({ key: read('node.key'), name: host.name }),
    clusterId: status.cluster.id,
    nodeId: status.self.id,
    name: host.name,
    wallNowMs: wallMs,
  });
  writeFileSync(join(host.dataDir, 'pki', 'node.crt'), certificate);
}

scenario(
  'all certificates expired while the hosts were off: the VIP is served again',
  async (scene) => {
    const { lab, cluster } = scene;
    await Promise.all(lab.hosts.map((host) => host.stopAgent()));
    const longAgo = Date.now() - nodeLifeMs - 30 * dayMs;
    for (const host of lab.hosts) await reissue(scene, host, longAgo);

    await Promise.all(lab.hosts.map((host) => host.startAgent()));
    const status = await cluster.settled();

    const alarms = [...status.warnings, ...lab.hosts.map(({ agentLog }) => agentLog)].join('\n');
    assert.match(alarms, /expired/i, 'with an alarm');
  },
);

scenario(
  'certificates of the future (a clock set back) are accepted by their keys',
  async (scene) => {
    const { lab, cluster } = scene;
    await Promise.all(lab.hosts.map((host) => host.stopAgent()));
    for (const host of lab.hosts) await reissue(scene, host, Date.now() + 40 * dayMs);

    await Promise.all(lab.hosts.map((host) => host.startAgent()));

    await cluster.settled();
  },
);

scenario('cert renew replaces the certificate without a restart', async (scene) => {
  const { lab, cluster } = scene;
  for (const host of lab.hosts) await host.must(['cert', 'renew']);

  const status = await cluster.settled();

  for (const { name, certExpires } of status.members) {
    const leftMs = Date.parse(certExpires ?? '') - Date.now();
    assert.ok(leftMs > nodeLifeMs - 2 * dayMs, `${name} until ${certExpires}`);
  }
});
