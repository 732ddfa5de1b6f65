/**
 * Read, change, apply: how a small edit reaches the spec. It is applied with the revision it was
 * read at, so that it never undoes what somebody else did meanwhile; then it is made again on the
 * new one.
 */
import { errorCode } from '../base/errors.ts';
import type { ApplySpecResult } from '../cluster/operations.ts';
import { type Context, type OutputOptions, print, withAgent } from './context.ts';
import type { SpecEdit } from './spec-edit.ts';

export interface EditOptions extends OutputOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

/** How often an edit is made anew because others were quicker. */
const maxAttempts = 5;

/** Edits the spec and prints what changed. */
export async function editSpec(
  context: Context,
  options: EditOptions,
  edit: SpecEdit,
): Promise<ApplySpecResult> {
  const { parseSpecDocument } = await import('../cluster/spec-schema.ts');
  const { specToDocument } = await import('../cluster/spec-document.ts');
  const dryRun = options.dryRun === true;
  const result = await withAgent(context, options, async (agent) => {
    for (let attempt = 1; ; attempt++) {
      const { clusterName, revision, spec } = parseSpecDocument(
        await agent.getSpec({ local: false }),
        { unsupportedDataPath: () => null },
      );
      const document = specToDocument({
        clusterName: clusterName ?? '',
        revision: revision ?? 0,
        spec: edit(spec),
      });
      try {
        return await agent.applySpec({ document, dryRun, yes: options.yes === true });
      } catch (error) {
        if (errorCode(error) !== 'stale-revision' || attempt === maxAttempts) throw error;
      }
    }
  });
  print(context, options, result, changesText(result, dryRun));
  return result;
}

/** What an apply did, or would do. */
export function changesText(result: ApplySpecResult, dryRun: boolean): string {
  if (result.changes.length === 0) return `nothing to change (revision ${result.revision})\n`;
  const lines = result.changes.join('\n');
  const end = dryRun ? 'nothing was changed: this was a dry run' : `revision ${result.revision}`;
  return `${lines}\n${end}\n`;
}
