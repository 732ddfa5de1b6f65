/** The places of a node on disk: what counts as a node, what may be made anew, what is wiped. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  beginNode,
  differences,
  existingNode,
  finishNode,
  wipeNode,
} from '../../../src/cli/prepare/node-dir.ts';
import { parseAgentConfig } from '../../../src/config/agent-config.ts';
import { writeAgentConfig } from '../../../src/config/agent-file.ts';
import { pathsFor } from '../../../src/config/paths.ts';
import { createDataDir } from '../../../src/storage/data-dir.ts';

const origin = { command: 'join', name: 'n2' };

function folder(t: TestContext) {
  const path = mkdtempSync(join(tmpdir(), 'holdfast-node-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return pathsFor(join(path, 'data'));
}

function configOf(nodeId: string, path: string) {
  const document = {
    ...{ apiVersion: 'holdfast/v1', kind: 'Agent', advertise: '10.0.0.1' },
    ...{ node: { id: nodeId, name: 'n2' }, cluster: { id: 'cafe', name: 'prod' } },
  };
  return parseAgentConfig(document, path);
}

async function makeNode(paths: ReturnType<typeof pathsFor>): Promise<void> {
  await beginNode(paths, origin);
  writeAgentConfig(paths.config, configOf('a2', paths.config));
  await createDataDir(paths.raft, { clusterId: 'cafe', nodeId: 'a2', name: 'n2' }, null);
  await finishNode(paths);
}

test('existingNode() finds none where nothing is, and the node with its origin once it is made', async (t) => {
  const paths = folder(t);

  const before = await existingNode(paths);
  await makeNode(paths);
  const after = await existingNode(paths);

  assert.equal(before, null);
  assert.deepEqual(after?.origin, origin);
  assert.equal(after?.config.node.id, 'a2');
});

test('an attempt that was cut short is no node, and its key is kept for the same command', async (t) => {
  const paths = folder(t);
  await beginNode(paths, origin);
  mkdirSync(paths.pki);
  writeFileSync(join(paths.pki, 'node.key'), 'key');

  assert.equal(await existingNode(paths), null);
  await beginNode(paths, origin);
  assert.ok(existsSync(join(paths.pki, 'node.key')));
  await beginNode(paths, { command: 'init' });
  assert.ok(!existsSync(paths.pki));
});

test('remains of a node that did run are never taken for nothing', async (t) => {
  const paths = folder(t);
  await makeNode(paths);
  rmSync(paths.raft, { recursive: true });

  await assert.rejects(existingNode(paths), { code: 'data-incomplete' });
});

test('a node without its configuration, or with that of another, is refused', async (t) => {
  const paths = folder(t);
  await makeNode(paths);

  writeAgentConfig(paths.config, configOf('b7', paths.config));
  await assert.rejects(existingNode(paths), { code: 'data-foreign' });
  rmSync(paths.config);
  await assert.rejects(existingNode(paths), { code: 'data-incomplete' });
});

test('wipeNode() leaves what others put beside the node', async (t) => {
  const paths = folder(t);
  await makeNode(paths);
  writeFileSync(join(paths.dataDir, 'notes.txt'), 'mine');

  const removed = await wipeNode(paths);

  assert.deepEqual(readdirSync(paths.dataDir), ['notes.txt']);
  assert.ok(removed.includes(paths.raft));
  assert.deepEqual(await wipeNode(paths), []);
});

test('beginNode() says where it may not write, also where the kernel says so oddly', async () => {
  await assert.rejects(beginNode(pathsFor('/proc/holdfast/data'), origin), {
    code: 'data-not-writable',
  });
});

test('differences() names what is not the same', () => {
  assert.deepEqual(differences(origin, { ...origin, name: 'n3' }), ['name was n2 and is now n3']);
  assert.deepEqual(differences(origin, origin), []);
  assert.deepEqual(differences({ ...origin, command: 'init' }, origin), ['it was made by init']);
});
