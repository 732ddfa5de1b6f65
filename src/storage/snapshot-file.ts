/**
 * A saved state as a text file: an armour like PEM's, so that it survives terminals and mail, and
 * within it a checksummed envelope with a format version, so that "newer" is told from "damaged".
 */
import { Record as Envelope, SnapshotRecord } from '../../proto/gen/state.ts';
import { OperatingError } from '../base/errors.ts';
import { crc32c } from './crc32c.ts';

/** The newest format of this file that this program writes and reads. */
export const snapshotFileFormat = 1;

const begin = '-----BEGIN HOLDFAST SNAPSHOT-----';
const end = '-----END HOLDFAST SNAPSHOT-----';
const lineChars = 64;

/** What is saved: the replicated state as the log's own snapshots hold it, and where it stood. */
export interface SnapshotFile {
  readonly index: number;
  readonly term: number;
  readonly state: Uint8Array;
}

export function encodeSnapshotFile({ index, term, state }: SnapshotFile): string {
  const record = { index, term, config: undefined, data: state };
  const body = SnapshotRecord.encode(record).finish();
  const crc = crc32c(body);
  const envelope = { formatVersion: snapshotFileFormat, crc32c: crc, body };
  const text = Buffer.from(Envelope.encode(envelope).finish()).toString('base64');
  const lines = text.match(new RegExp(`.{1,${lineChars}}`, 'g')) ?? [];
  return `${[begin, ...lines, end].join('\n')}\n`;
}

/** @throws OperatingError `snapshot-foreign`, `snapshot-damaged`, `snapshot-newer` */
export function decodeSnapshotFile(text: string): SnapshotFile {
  const lines = text.trim().split(/\s*\n/);
  if (lines[0] !== begin) throw foreign();
  if (lines.at(-1) !== end) throw damaged('its end is missing');
  const base64 = lines.slice(1, -1).join('');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw damaged('it holds letters that do not belong');
  try {
    const envelope = Envelope.decode(Buffer.from(base64, 'base64'));
    if (crc32c(envelope.body) !== envelope.crc32c) throw damaged('its checksum is wrong');
    if (envelope.formatVersion > snapshotFileFormat) throw newer(envelope.formatVersion);
    const { index, term, data } = SnapshotRecord.decode(envelope.body);
    return { index, term, state: new Uint8Array(data) };
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw damaged('it cannot be read');
  }
}

function foreign(): OperatingError {
  return new OperatingError({
    code: 'snapshot-foreign',
    message: 'this is not a snapshot of Holdfast',
    hint: 'give a file that `holdfast snapshot save` wrote',
  });
}

function damaged(why: string): OperatingError {
  return new OperatingError({
    code: 'snapshot-damaged',
    message: `the snapshot is damaged: ${why}`,
    hint: 'copy it again from where it was saved, or take an older one; nothing was changed',
    facts: { why },
  });
}

function newer(found: number): OperatingError {
  return new OperatingError({
    code: 'snapshot-newer',
    message: `the snapshot has format ${found}, and this program knows ${snapshotFileFormat}`,
    hint: 'restore it with the version of holdfast that wrote it, or a later one',
    facts: { found, known: snapshotFileFormat },
  });
}
