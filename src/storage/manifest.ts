/**
 * What LevelDB's MANIFEST says a store consists of. LevelDB does not miss a journal that is gone,
 * and takes a MANIFEST that was cut short for an older one: in both cases it would open, in
 * silence, a store from which newer writes have vanished. So we look for the files ourselves.
 *
 * Format: a record file; each record is a change to the set of files (db/version_edit.cc).
 */
import { dataCorrupt } from './refusals.ts';
import { VarintReader } from './varint-reader.ts';

export interface StoreFiles {
  /** The oldest journal that is not yet in the tables; it exists as long as it is named. */
  readonly journal: number;
  /** Tables in use. Others may lie about, even incomplete: a crash came before they were named. */
  readonly tables: ReadonlySet<number>;
}

/** Tags of the fields of a change. */
const tags = {
  comparator: 1,
  journal: 2,
  nextFile: 3,
  lastSequence: 4,
  compactPointer: 5,
  deletedFile: 6,
  newFile: 7,
  previousJournal: 9,
} as const;

/** @throws OperatingError `data-corrupt` */
export function readManifest(records: readonly Uint8Array[]): StoreFiles {
  const tables = new Set<number>();
  let journal = 0;
  for (const record of records) {
    const reader = new VarintReader(record);
    while (!reader.done) {
      switch (reader.number()) {
        case tags.comparator:
          reader.skipBytes();
          break;
        case tags.journal:
          journal = reader.number();
          break;
        case tags.nextFile:
        case tags.lastSequence:
        case tags.previousJournal:
          reader.number();
          break;
        case tags.compactPointer:
          reader.number();
          reader.skipBytes();
          break;
        case tags.deletedFile:
          reader.number();
          tables.delete(reader.number());
          break;
        case tags.newFile:
          tables.add(newTable(reader));
          break;
        default:
          throw dataCorrupt('the MANIFEST holds a field that nobody knows');
      }
    }
  }
  return { journal, tables };
}

/** A level, a number, a size, and the first and last key. */
function newTable(reader: VarintReader): number {
  reader.number();
  const table = reader.number();
  reader.number();
  reader.skipBytes();
  reader.skipBytes();
  return table;
}
