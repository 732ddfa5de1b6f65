/** What a command reads from a file or, for `-`, from standard input. */
import { readFile, stat } from 'node:fs/promises';
import { errorCode, OperatingError } from '../base/errors.ts';
import type { Terminal } from './terminal.ts';

/** A spec of every size that the cluster takes is far below this. */
const maxFileBytes = 4 * 1024 * 1024;

/** @throws OperatingError `file-unreadable` */
export async function readInput(terminal: Terminal, path: string): Promise<string> {
  if (path === '-') return terminal.readInput();
  try {
    const { size } = await stat(path);
    if (size > maxFileBytes) throw unreadable(path, 'it is larger than 4 MiB', undefined);
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    const code = errorCode(error);
    throw unreadable(
      path,
      code === 'ENOENT' ? 'it is not there' : (code ?? 'unknown error'),
      error,
    );
  }
}

/** A YAML or JSON document from a file; `-` for standard input. */
export async function readDocument(terminal: Terminal, path: string): Promise<unknown> {
  const text = await readInput(terminal, path);
  const { parseYaml } = await import('./yaml.ts');
  const parsed = parseYaml(text);
  if (parsed.ok) return parsed.value;
  throw new OperatingError({
    code: 'not-yaml',
    message: `${nameOf(path)} is not YAML: ${parsed.why}`,
    hint: 'correct it; nothing was changed',
    facts: { path },
  });
}

function nameOf(path: string): string {
  return path === '-' ? 'standard input' : path;
}

function unreadable(path: string, why: string, cause: unknown): OperatingError {
  return new OperatingError({
    code: 'file-unreadable',
    message: `${nameOf(path)} cannot be read: ${why}`,
    hint: 'give another path, or - for standard input',
    facts: { path },
    cause,
  });
}
