/** The checkers bite: each broken rule is caught by a known number of seeds. */
import { strict as assert } from 'node:assert';
import { describe, test } from 'node:test';
import { hunt, mutants } from './mutants.ts';

describe('mutants', () => {
  for (const mutant of mutants) {
    test(`within ${mutant.seeds} seeds it catches: ${mutant.name}`, async () => {
      const { caught, output } = await hunt(mutant);

      assert.notEqual(caught, null, output.slice(-1_000));
    });
  }
});
