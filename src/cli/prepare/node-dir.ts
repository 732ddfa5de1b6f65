/**
 * The places of one node on disk while `init` or `join` makes it. A node is there when its identity
 * is, which is written last; before that a marker says that the remains may be made anew, because
 * no agent ever ran on them.
 */
import { mkdir, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode, OperatingError } from '../../base/errors.ts';
import type { AgentConfig } from '../../config/agent-config.ts';
import { readAgentConfigIfThere } from '../../config/agent-file.ts';
import type { Paths } from '../../config/paths.ts';
import { readIdentity } from '../../storage/data-dir.ts';
import { dataDirSuffix } from '../context.ts';

/** What a node was made with: the same again is no error, anything else is. */
export type Origin = Readonly<Record<string, string>>;

export interface ExistingNode {
  readonly config: AgentConfig;
  readonly origin: Origin;
}

const markerName = 'preparing';
const originName = 'origin.json';

/**
 * The node that is here already, or null where one can be made.
 *
 * @throws OperatingError `data-incomplete`, `data-foreign`, and those of the files that are read
 */
export async function existingNode(paths: Paths): Promise<ExistingNode | null> {
  const identity = await identityIfThere(paths);
  const config = await readAgentConfigIfThere(paths.config);
  if (identity === null) {
    const remains = await remainsOf(paths);
    if (remains === null || (await readRecord(join(paths.dataDir, markerName))) !== null)
      return null;
    throw incomplete(paths, `${remains} is there, and the node’s log is not`);
  }
  if (config === null) throw incomplete(paths, `${paths.config} is missing`);
  if (config.cluster.id !== identity.clusterId || config.node.id !== identity.nodeId) {
    throw new OperatingError({
      code: 'data-foreign',
      message: `${paths.config} is of another node than ${paths.raft}`,
      hint: 'put the right ones together, or give another --data-dir',
      facts: { config: config.node.id, raft: identity.nodeId },
    });
  }
  return { config, origin: (await readRecord(join(paths.dataDir, originName))) ?? {} };
}

/** In which values two origins differ, for the person who is told so. */
export function differences(before: Origin, now: Origin): string[] {
  if (before.command !== now.command) return [`it was made by ${before.command ?? 'hand'}`];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort();
  return keys
    .filter((key) => before[key] !== now[key])
    .map((key) => `${key} was ${before[key] ?? 'unset'} and is now ${now[key] ?? 'unset'}`);
}

/** Makes the data directory and marks it as unfinished; remains of another attempt go. */
export async function beginNode(paths: Paths, origin: Origin): Promise<void> {
  const marker = join(paths.dataDir, markerName);
  const former = await readRecord(marker);
  // A repeated join must show the same key, or its name is taken: by itself.
  if (former !== null && former.command !== origin.command) await wipeNode(paths);
  try {
    await makeFolder(paths.dataDir);
    await writeFile(marker, JSON.stringify(origin), { mode: 0o600 });
    await writeFile(join(paths.dataDir, originName), JSON.stringify(origin), { mode: 0o600 });
  } catch (error) {
    throw new OperatingError({
      code: 'data-not-writable',
      message: `${paths.dataDir} cannot be written (${errorCode(error) ?? 'unknown error'})`,
      hint: 'run as root, or give another --data-dir',
      facts: { dir: paths.dataDir },
      cause: error,
    });
  }
}

/** To be called when everything is written: this is a node now. */
export async function finishNode(paths: Paths): Promise<void> {
  await rm(join(paths.dataDir, markerName), { force: true });
}

/** Removes what a node is made of, and nothing that somebody else may have put beside it. */
export async function wipeNode(paths: Paths): Promise<string[]> {
  const removed: string[] = [];
  const own = [paths.raft, paths.pki, paths.config, paths.socket];
  for (const name of [originName, markerName]) own.push(join(paths.dataDir, name));
  for (const path of own) {
    const there = await isThere(path);
    await rm(path, { recursive: true, force: true });
    if (there) removed.push(path);
  }
  // Gone only where it is empty and was made for this node alone.
  if (paths.given !== null) await rmdir(paths.dataDir).catch(() => undefined);
  return removed;
}

/** Not Node's recursive way, which never ends where the kernel refuses with ENOENT (/proc). */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = errorCode(error);
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path || (await isThere(dirname(path), true))) {
      throw error;
    }
    await makeFolder(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
}

async function identityIfThere(paths: Paths) {
  try {
    return await readIdentity(paths.raft);
  } catch (error) {
    if (errorCode(error) === 'data-missing') return null;
    throw error;
  }
}

async function remainsOf(paths: Paths): Promise<string | null> {
  for (const path of [paths.pki, paths.raft, paths.config]) if (await isThere(path)) return path;
  return null;
}

/** An empty folder is nothing: systemd and configuration tools make them beforehand. */
async function isThere(path: string, evenEmpty = false): Promise<boolean> {
  try {
    return (await readdir(path)).length > 0 || evenEmpty;
  } catch (error) {
    return errorCode(error) !== 'ENOENT';
  }
}

async function readRecord(path: string): Promise<Origin | null> {
  try {
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).map(([key, value]) => [key, String(value)]));
  } catch (error) {
    // A marker that was cut short still marks.
    return errorCode(error) === 'ENOENT' ? null : {};
  }
}

function incomplete(paths: Paths, why: string): OperatingError {
  const reset = `holdfast reset --yes${dataDirSuffix(paths)}`;
  return new OperatingError({
    code: 'data-incomplete',
    message: `${paths.dataDir} holds remains of a node: ${why}`,
    hint: `restore what is missing, or begin anew after \`${reset}\``,
    facts: { dir: paths.dataDir },
  });
}
