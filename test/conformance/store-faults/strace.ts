/**
 * Faults at chosen system calls on the files of a store. `strace` strikes: it counts the calls of
 * each thread on the paths that it is told, and LevelDB numbers its files as they come, so their
 * names are known beforehand.
 */

/** The names of some of a store's files, for a number of six digits. */
export type StoreFiles = (number: string) => readonly string[];

export const journals: StoreFiles = (number) => [`${number}.log`];
export const tables: StoreFiles = (number) => [
  `${number}.ldb`,
  `MANIFEST-${number}`,
  `${number}.dbtmp`,
];

const numbers = Array.from({ length: 40 }, (_, number) => String(number).padStart(6, '0'));

export interface Strike {
  readonly dir: string;
  readonly files: StoreFiles;
  /** Names of system calls, with commas between them. */
  readonly calls: string;
  /** In the words of `strace --inject`: `signal=KILL:when=3`, `error=EIO:when=5`. */
  readonly fault: string;
}

/** What to put in front of a command line. */
export function striking({ dir, files, calls, fault }: Strike): readonly string[] {
  const store = `${dir}/log`;
  const paths = [store, `${store}/CURRENT`].concat(
    numbers.flatMap((number) => files(number).map((name) => `${store}/${name}`)),
  );
  const qualifiers = ['-e', `trace=${calls}`, '-e', `inject=${calls}:${fault}`];
  const quiet = ['-f', '-qq', '-o', '/dev/null'];
  return ['strace', ...quiet, ...paths.flatMap((path) => ['-P', path]), ...qualifiers];
}
