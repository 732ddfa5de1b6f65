/** The mutants fit today's sources; whether each is caught is what `make mutants` tries. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { mutants } from './mutants/all.ts';

const root = join(import.meta.dirname, '../..');

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

test('each patch of a mutant finds its place exactly once, and changes it', () => {
  for (const { name, patches } of mutants) {
    assert.ok(patches.length > 0, name);
    for (const { file, find, replace } of patches) {
      assert.equal(read(file).split(find).length - 1, 1, `${name}: ${file} has: ${find}`);
      assert.notEqual(find, replace, name);
    }
  }
});

test('there are enough mutants, and the simulator itself catches its share', () => {
  const simulated = mutants.filter(({ by }) => 'seeds' in by);

  assert.ok(mutants.length >= 40, `${mutants.length} mutants`);
  assert.ok(simulated.length >= 30, `${simulated.length} caught by the simulator`);
});
