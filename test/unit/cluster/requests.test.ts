/** What is refused before it is proposed, where the document alone does not show it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { checkUntranslated } from '../../../src/cluster/requests.ts';
import { parseSpecDocument } from '../../../src/cluster/spec-schema.ts';

const members = [
  { name: 'n1', address: '10.0.0.11:7443' },
  { name: 'n2', address: '[fd00::12]:7443' },
];

function specWith(address: string, mode: string) {
  const vip = address.includes(':') ? 'fd00::100' : '10.0.0.100';
  const frontend = { name: 'api', vip, port: 6443, dataPath: 'ipvs' };
  const backends = { static: [{ address, port: 6443, mode }] };
  const document = {
    apiVersion: 'holdfast/v1',
    kind: 'Cluster',
    spec: { vips: [{ address: vip }], frontends: [{ ...frontend, backends }] },
  };
  return parseSpecDocument(document, { unsupportedDataPath: () => null }).spec;
}

test('checkUntranslated() refuses members, by either family, and nobody else', () => {
  for (const [address, member] of [
    ['10.0.0.11', 'n1'],
    ['fd00::12', 'n2'],
  ] as const) {
    for (const mode of ['direct', 'tunnel']) {
      assert.throws(
        () => checkUntranslated({ members }, specWith(address, mode)),
        (error) => {
          assert.ok(error instanceof OperatingError);
          assert.equal(error.code, 'member-untranslated');
          assert.equal(
            error.message,
            `api: ${address} is ${member}, and no member is reached by ${mode}`,
          );
          return true;
        },
      );
    }
    checkUntranslated({ members }, specWith(address, 'masquerade'));
  }
  checkUntranslated({ members }, specWith('10.0.0.21', 'direct'));
});
