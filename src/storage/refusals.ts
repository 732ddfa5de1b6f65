/** Why a data directory is not opened, each with what the operator can do about it. */
import { errorCode, OperatingError } from '../base/errors.ts';

/** The data directory is damaged; voting on with it could undo what it had promised. */
export function dataCorrupt(detail: string, cause?: unknown): OperatingError {
  return new OperatingError({
    code: 'data-corrupt',
    message: `the data directory is damaged: ${detail}`,
    hint:
      'take the node out and in again: `holdfast reset` here, ' +
      'then `holdfast join … --replace NAME` with a token of another member',
    facts: { detail },
    cause,
  });
}

export function dataNewer(found: number, known: number): OperatingError {
  return new OperatingError({
    code: 'data-newer',
    message: `the data directory has format version ${found}, and this program knows ${known}`,
    hint: `install a version of holdfast that knows format ${found}; going back is not possible`,
    facts: { found, known },
  });
}

export function dataMissing(dir: string): OperatingError {
  return new OperatingError({
    code: 'data-missing',
    message: `there is no node in ${dir}`,
    hint: 'run `holdfast init` on the first host, or `holdfast join` on the others',
    facts: { dir },
  });
}

export function dataForeign(dir: string, detail: string): OperatingError {
  return new OperatingError({
    code: 'data-foreign',
    message: `the data in ${dir} is not this node's: ${detail}`,
    hint: 'choose another --data-dir, or empty this one with `holdfast reset`',
    facts: { dir, detail },
  });
}

/** LevelDB's words for files that are not as it left them. */
const damage = /corruption|checksum|no such file|does not exist|invalid argument/i;

/** What LevelDB or the file system said when the directory was opened or written. */
export function openFailure(dir: string, error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  const code = errorCode(cause);
  const detail = cause instanceof Error ? cause.message : String(cause);
  if (code === 'LEVEL_LOCKED') {
    return new OperatingError({
      code: 'data-locked',
      message: `another process uses ${dir}`,
      hint: 'an agent may be running already: see `systemctl status holdfast`',
      facts: { dir },
      cause: error,
    });
  }
  if (code?.startsWith('LEVEL_') && damage.test(detail)) return dataCorrupt(detail, error);
  if (code === 'EROFS' || /read-only/i.test(detail)) {
    return new OperatingError({
      code: 'data-not-writable',
      message: `${dir} cannot be written: ${detail}`,
      hint: 'look why its file system is read-only: `dmesg`, `mount`; a failing disk is a reason',
      facts: { dir },
      cause: error,
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || /permission/i.test(detail)) {
    return new OperatingError({
      code: 'data-not-writable',
      message: `${dir} cannot be written: ${detail}`,
      hint: 'run as root, or give the directory to the user that runs holdfast',
      facts: { dir },
      cause: error,
    });
  }
  return new OperatingError({
    code: 'data-unusable',
    message: `${dir} cannot be used: ${detail}`,
    hint: 'look at the disk: `df`, `dmesg`',
    facts: { dir, ...(code === undefined ? {} : { cause: code }) },
    cause: error,
  });
}
