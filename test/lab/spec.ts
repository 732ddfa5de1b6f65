/** The cluster's spec as an operator changes it: read, edited, applied. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import type { Lab } from './lab.ts';

export interface EditableSpec {
  vips: { address: string; interface?: string; onConflict?: string }[];
  frontends: unknown[];
}

/** Applies what `edit` makes of the present spec, through the leader. */
export async function changeSpec(
  { lab, cluster }: { readonly lab: Lab; readonly cluster: Cluster },
  edit: (spec: EditableSpec) => void,
): Promise<void> {
  const leader = await cluster.leader();
  if (leader === null) throw new Error('there is no leader');
  const document = (await leader.json(['get', 'spec'])) as { spec: EditableSpec };
  edit(document.spec);
  const file = join(lab.directory, 'spec.json');
  writeFileSync(file, JSON.stringify(document));
  await leader.must(['apply', '-f', file, '--yes']);
}
