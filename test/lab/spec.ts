/** The cluster's spec as an operator changes it: read, edited, applied. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { failure, type Outcome } from './shell.ts';

export interface EditableSpec {
  vips: { address: string; interface?: string; onConflict?: string }[];
  frontends: unknown[];
}

/** Where a spec is changed. */
export interface Place {
  readonly lab: Lab;
  readonly cluster: Cluster;
}

/** Applies what `edit` makes of the present spec, through the leader. */
export async function changeSpec(place: Place, edit: (spec: EditableSpec) => void): Promise<void> {
  const draft = await SpecDraft.read(place);
  await draft.change(edit);
}

/** The spec as it was read once, for a row of changes by nobody else. */
export class SpecDraft {
  readonly #leader: Host;
  readonly #file: string;
  readonly #document: SpecDocument;

  private constructor(leader: Host, file: string, document: SpecDocument) {
    this.#leader = leader;
    this.#file = file;
    this.#document = document;
  }

  static async read({ lab, cluster }: Place): Promise<SpecDraft> {
    const leader = await cluster.leader();
    if (leader === null) throw new Error('there is no leader');
    const document = (await leader.json(['get', 'spec'])) as SpecDocument;
    // A revision would be stale with the second change.
    delete document.metadata.revision;
    return new SpecDraft(leader, join(lab.directory, 'spec.json'), document);
  }

  /** Applies what `edit` makes of it. */
  async change(edit: (spec: EditableSpec) => void): Promise<void> {
    const outcome = await this.apply(edit);
    if (outcome.code !== 0) throw new Error(failure(outcome));
  }

  /** The same, where it may be refused. */
  apply(edit: (spec: EditableSpec) => void): Promise<Outcome> {
    edit(this.#document.spec);
    writeFileSync(this.#file, JSON.stringify(this.#document));
    return this.#leader.cli(['apply', '-f', this.#file, '--yes']);
  }
}

interface SpecDocument {
  metadata: { revision?: number };
  spec: EditableSpec;
}
