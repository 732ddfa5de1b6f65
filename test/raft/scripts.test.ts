/**
 * Runs every script in testdata/: a command, `----`, and the trace that it must print. After a
 * change that is meant to change traces, `node test/raft/scripts.test.ts --rewrite` writes them
 * anew; the diff is then what has to be understood before it is committed.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Script } from './script.ts';

const folder = join(import.meta.dirname, 'testdata');
const rewrite = process.argv.includes('--rewrite');

interface Step {
  /** Comments before the command, as they stand. */
  readonly comments: readonly string[];
  readonly command: string;
}

/** The commands of a script; what they printed when it was written is not looked at. */
function parse(source: string): { steps: Step[]; tail: string[] } {
  const steps: Step[] = [];
  let comments: string[] = [];
  let inOutput = false;
  for (const line of source.split('\n')) {
    if (inOutput) {
      inOutput = line !== '';
      continue;
    }
    if (line === '----') {
      inOutput = true;
    } else if (line === '' || line.startsWith('#')) {
      comments.push(line);
    } else {
      steps.push({ comments, command: line });
      comments = [];
    }
  }
  return { steps, tail: comments };
}

/** The script as it should stand. */
function replay(source: string): string {
  const { steps, tail } = parse(source);
  const script = new Script();
  const out: string[] = [];
  for (const { comments, command } of steps) {
    out.push(...comments, command, '----', script.run(command), '');
  }
  return [...out, ...tail].join('\n').replace(/\n+$/, '\n');
}

for (const name of readdirSync(folder).sort()) {
  const path = join(folder, name);
  test(`the trace of ${name} is as written`, () => {
    const source = readFileSync(path, 'utf8');
    const want = replay(source);
    if (rewrite) writeFileSync(path, want);
    else assert.equal(source, want);
  });
}
