/** Join tokens from flags, files, standard input and the environment. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Context } from '../../../src/cli/context.ts';
import { givenToken } from '../../../src/cli/prepare/secrets.ts';
import { readEnvironment } from '../../../src/config/env.ts';

const token = 'abcdef.0123456789abcdef';
const other = 'ffffff.0123456789abcdef';

function context(input: string, variables: Record<string, string> = {}): Context {
  return {
    environment: readEnvironment(variables, 1),
    terminal: { isScreen: false, out() {}, err() {}, readInput: async () => input },
    clock: { now: () => 0, wallNow: () => 0, after: () => ({ cancel: () => undefined }) },
    connect: () => Promise.reject(new Error('no agent is asked')),
  };
}

test('givenToken() prefers what is on the command line to the environment', async () => {
  const surroundings = context(`${other}\n`, { HOLDFAST_TOKEN: other });

  assert.equal(await givenToken(surroundings, { token }), token);
  assert.equal(await givenToken(surroundings, { tokenFile: '-' }), other);
  assert.equal(await givenToken(surroundings, {}), other);
  assert.equal(await givenToken(context(''), {}), null);
});

test('givenToken() reads a file, with or without a line end', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-token-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const tokenFile = join(folder, 'token');

  for (const text of [token, `${token}\n`, ` ${token} \r\n`]) {
    writeFileSync(tokenFile, text);
    assert.equal(await givenToken(context(''), { tokenFile }), token);
  }
});

test('givenToken() refuses what is no token without repeating it', async () => {
  await assert.rejects(givenToken(context('hunter2'), { tokenFile: '-' }), (error) => {
    assert.ok(error instanceof Error && !error.message.includes('hunter2'));
    return true;
  });
  await assert.rejects(givenToken(context(''), { tokenFile: '-' }), { code: 'token-malformed' });
  await assert.rejects(givenToken(context(''), { tokenFile: '/nowhere/token' }), {
    code: 'file-unreadable',
  });
});
