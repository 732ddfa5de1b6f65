/**
 * YAML in and out, in a file of its own so that only the commands that need it load the library.
 */
import { parseDocument, stringify } from 'yaml';

export type ParsedYaml =
  | { readonly ok: true; readonly value: unknown }
  /** `why` is one line. */
  | { readonly ok: false; readonly why: string };

export function parseYaml(text: string): ParsedYaml {
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem === undefined) return { ok: true, value: document.toJS() };
  const [why = 'it cannot be read'] = problem.message.split('\n');
  return { ok: false, why: why.replace(/:$/, '') };
}

export function formatYaml(value: unknown): string {
  return stringify(value);
}
