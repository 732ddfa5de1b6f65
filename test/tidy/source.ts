/**
 * The project's own text as data: which files there are, what each imports, and how long its
 * functions are. It reads code as Biome lays it out (a block closes at the indentation of the line
 * that opened it), which is far less than a parser and enough for the rules of the house.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = normalize(join(dirname(fileURLToPath(import.meta.url)), '..', '..'));

export interface Import {
  readonly line: number;
  /** As written: `node:fs`, `zod`, `../base/assert.ts`. */
  readonly specifier: string;
  /** The project's file it means, from the root: `src/base/assert.ts`; null for anything else. */
  readonly file: string | null;
  readonly typeOnly: boolean;
  /** `import('…')`: loaded later, if at all. */
  readonly lazy: boolean;
}

export interface LongFunction {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

export interface SourceFile {
  /** From the root, with slashes: `src/base/assert.ts`. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** The text with every comment blanked out, line numbers kept. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const ignoredFolders = new Set(['node_modules', 'dist', '.git', '.cache', 'gen']);

/** Every TypeScript file below the given top-level folders, generated code left out. */
export function readSources(folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) => listFiles(folder, (name) => name.endsWith('.ts')).map(read));
}

/** Paths, from the root, of the files below `folder` whose name `wanted` accepts. */
export function listFiles(folder: string, wanted: (name: string) => boolean): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((item) => {
      const path = normalize(join(folder, item.name));
      if (item.isDirectory()) return ignoredFolders.has(item.name) ? [] : listFiles(path, wanted);
      return item.isFile() && wanted(item.name) ? [path] : [];
    })
    .sort();
}

function read(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  const code = blankComments(text);
  return { path, text, lines: text.split('\n'), code, imports: importsOf(path, code) };
}

/**
 * Replaces comments by spaces. Knows strings and templates, not regular expressions with quotes.
 */
export function blankComments(text: string): string {
  const pattern =
    /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|\/\*[\s\S]*?\*\/|(?<![:\\])\/\/.*/g;
  return text.replace(pattern, (match) =>
    match.startsWith('/*') || match.startsWith('//') ? match.replace(/[^\n]/g, ' ') : match,
  );
}

/** Every import and re-export of `code`, static or lazy. */
export function importsOf(path: string, code: string): Import[] {
  const found: Import[] = [];
  const add = (index: number, specifier: string, typeOnly: boolean, lazy: boolean) => {
    const line = code.slice(0, index).split('\n').length;
    found.push({ line, specifier, file: resolve(path, specifier), typeOnly, lazy });
  };
  for (const match of code.matchAll(/^(?:import|export)\s([^;'"]*?)from\s+'([^']+)'/gm)) {
    add(match.index, match[2] ?? '', isTypeOnly(match[1] ?? ''), false);
  }
  for (const match of code.matchAll(/^import\s+'([^']+)'/gm)) {
    add(match.index, match[1] ?? '', false, false);
  }
  for (const match of code.matchAll(/(typeof\s+)?\bimport\(\s*'([^']+)'/g)) {
    add(match.index, match[2] ?? '', match[1] !== undefined, true);
  }
  return found;
}

function isTypeOnly(clause: string): boolean {
  const text = clause.trim();
  if (text.startsWith('type ')) return true;
  const names = /^\{([\s\S]*)\}$/.exec(text)?.[1];
  if (names === undefined) return false;
  const items = names.split(',').map((name) => name.trim());
  return items.every((name) => name === '' || name.startsWith('type '));
}

function resolve(path: string, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null;
  return relative(root, join(root, dirname(path), specifier));
}

const notFunctions =
  /^(?:\}\s*)?(?:if|else|for|while|do|switch|try|catch|finally|with|return|throw|case|default)\b/;

/** The functions and methods of `file` that are longer than `limit` lines. */
export function longFunctions(file: SourceFile, limit: number): LongFunction[] {
  const lines = file.code.split('\n');
  const found: LongFunction[] = [];
  lines.forEach((line, opening) => {
    if (!line.endsWith('{')) return;
    const indent = indentOf(line);
    const first = headerStart(lines, opening, indent);
    const header = lines
      .slice(first, opening + 1)
      .join(' ')
      .trim();
    if (!isFunctionHeader(header)) return;
    const closing = lines.findIndex(
      (other, index) => index > opening && indentOf(other) === indent && /^\s*\}/.test(other),
    );
    const length = closing - first + 1;
    if (length > limit) found.push({ name: nameOf(header), line: first + 1, lines: length });
  });
  return found;
}

function headerStart(lines: readonly string[], opening: number, indent: number): number {
  let first = opening;
  while (/^\s*[)\]}>]/.test(lines[first] ?? '') && first > 0) {
    do first--;
    while (first > 0 && (indentOf(lines[first] ?? '') !== indent || lines[first]?.trim() === ''));
  }
  return first;
}

function isFunctionHeader(header: string): boolean {
  if (notFunctions.test(header)) return false;
  if (/\bfunction\b/.test(header) || /=>\s*\{$/.test(header)) return true;
  return /^[\w#*\s]+(?:<.*>)?\(.*\)(?::\s*.+)?\s*\{$/.test(header);
}

function nameOf(header: string): string {
  const named =
    /\bfunction\*?\s+(\w+)/.exec(header) ??
    /(?:const|let)\s+(\w+)(?::[^=]+)?\s*=/.exec(header) ??
    /^(?:(?:async|static|override|get|set|private|protected|public)\s+)*\*?(#?\w+)/.exec(header);
  return named?.[1] ?? header;
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}
