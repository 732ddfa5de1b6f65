/**
 * Whether the files of a LevelDB store are what was last written to them, asked before LevelDB
 * opens them: by itself it opens, in silence, much that is damaged, and then deletes what it did
 * not understand. Files that the MANIFEST does not name yet may be incomplete, and so may the end
 * of what was being written: a crash leaves them so.
 *
 * Another process may be using the store meanwhile (`status` looks while an agent runs): what
 * vanishes under our eyes is not damage.
 */
import { readdir, readFile } from 'node:fs/promises';
import { errorCode } from '../base/errors.ts';
import { readManifest, type StoreFiles } from './manifest.ts';
import { readRecordLog } from './record-log.ts';
import { dataCorrupt } from './refusals.ts';
import { damagedBlock } from './table-check.ts';

/** How often the list of files is read anew where one of it is not there. */
const maxLooks = 4;

/** @throws OperatingError `data-corrupt` */
export async function checkStore(storeDir: string): Promise<void> {
  const { tables } = await presentFiles(storeDir);
  for (const name of await readdir(storeDir)) {
    if (name.endsWith('.log')) await readRecords(storeDir, name);
  }
  for (const table of tables) {
    const name = tableName(table);
    const bytes = await readIfThere(`${storeDir}/${name}`);
    const damagedAt = bytes === null ? null : damagedBlock(bytes);
    if (damagedAt !== null) throw damaged(name, damagedAt);
  }
}

/** What the store consists of by its own account, all of which is there. */
async function presentFiles(storeDir: string): Promise<StoreFiles> {
  let missing: string | undefined;
  for (let look = 0; look < maxLooks; look++) {
    const files = await namedFiles(storeDir);
    if (typeof files === 'string') {
      missing = files;
      continue;
    }
    const present = new Set(await readdir(storeDir));
    const named = [journalName(files.journal), ...[...files.tables].map(tableName)];
    missing = named.find((name) => !present.has(name));
    if (missing === undefined) return files;
  }
  throw dataCorrupt(`its file ${missing} is missing`);
}

/** By way of CURRENT and the MANIFEST; the name of the one that is missing. */
async function namedFiles(storeDir: string): Promise<StoreFiles | string> {
  const current = await readIfThere(`${storeDir}/CURRENT`);
  if (current === null) return 'CURRENT';
  const name = /^(MANIFEST-\d+)\n$/.exec(new TextDecoder().decode(current))?.[1];
  if (name === undefined) throw dataCorrupt('its file CURRENT cannot be read');
  const records = await readRecords(storeDir, name);
  return records === null ? name : readManifest(records);
}

/** Null where the file is not there. */
async function readRecords(storeDir: string, name: string): Promise<readonly Uint8Array[] | null> {
  const bytes = await readIfThere(`${storeDir}/${name}`);
  if (bytes === null) return null;
  const { records, damagedAt } = readRecordLog(bytes);
  if (damagedAt !== null) throw damaged(name, damagedAt);
  return records;
}

async function readIfThere(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function damaged(name: string, at: number): Error {
  return dataCorrupt(`its file ${name} is damaged at byte ${at}`);
}

function journalName(file: number): string {
  return `${String(file).padStart(6, '0')}.log`;
}

function tableName(file: number): string {
  return `${String(file).padStart(6, '0')}.ldb`;
}
