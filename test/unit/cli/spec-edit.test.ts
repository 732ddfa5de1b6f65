/** Small edits of the spec, by table and by what must never happen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import {
  addBackend,
  addFrontend,
  addVip,
  drainBackend,
  type NewFrontend,
  removeBackend,
  removeFrontend,
  removeVip,
  type SpecEdit,
} from '../../../src/cli/spec-edit.ts';
import type { Spec } from '../../../src/cluster/spec.ts';
import { diffSpecs } from '../../../src/cluster/spec-diff.ts';
import { defaultSpec } from '../../../src/cluster/spec-document.ts';
import { defaultHealthCheck } from '../../../src/cluster/spec-schema.ts';

const one = defaultSpec({
  vips: [{ address: '10.0.0.100', interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [],
});
const two = defaultSpec({
  vips: [{ address: '10.0.0.100', interface: null }],
  vipPort: 6443,
  backendPort: 6443,
  frontends: [{ port: 9345, check: 'tcp' }],
});
const memberNames = ['n1', 'n2', 'n3'];
const drain = (backend: string, draining = true, frontend: string | null = null): SpecEdit =>
  drainBackend({ frontend, backend, draining, memberNames });
const frontend: NewFrontend = {
  name: 'rke2',
  vip: null,
  port: 9345,
  protocol: 'tcp',
  dataPath: 'auto',
  scheduler: 'round-robin',
  prefer: 'any',
  memberPort: 9345,
  healthCheck: defaultHealthCheck,
};
const at = { address: '10.0.0.50', port: 6443 };
const added = { ...at, weight: 1, mode: 'masquerade' } as const;
const withStatic = addBackend(null, added)(one);

const edits: readonly [what: string, before: Spec, edit: SpecEdit, changes: readonly string[]][] = [
  [
    'addVip()',
    one,
    addVip('10.0.0.101', null),
    ['+ vips[10.0.0.101].address: 10.0.0.101', '+ vips[10.0.0.101].onConflict: defend'],
  ],
  ['addVip() of one that is there', one, addVip('10.0.0.100', null), []],
  [
    'addBackend() again with another weight',
    withStatic,
    addBackend(null, { ...added, weight: 5 }),
    ['~ frontends[kube-apiserver].backends.static[10.0.0.50:6443].weight: 1 → 5'],
  ],
  [
    'drainBackend() of a member in every frontend',
    two,
    drain('n2'),
    [
      '+ frontends[kube-apiserver].backends.drainedMembers[n2]: n2',
      '+ frontends[port-9345].backends.drainedMembers[n2]: n2',
    ],
  ],
  [
    'drainBackend() of a member in one frontend',
    two,
    drain('n2', true, 'port-9345'),
    ['+ frontends[port-9345].backends.drainedMembers[n2]: n2'],
  ],
  ['drainBackend() twice', drain('n2')(one), drain('n2'), []],
  [
    'drainBackend() back',
    drain('n2')(one),
    drain('n2', false),
    ['- frontends[kube-apiserver].backends.drainedMembers[n2]: n2'],
  ],
  [
    'drainBackend() of a static backend',
    withStatic,
    drain('10.0.0.50'),
    ['+ frontends[kube-apiserver].backends.static[10.0.0.50:6443].draining: true'],
  ],
  [
    'removeBackend() undoes addBackend()',
    one,
    (spec) => removeBackend(null, '10.0.0.50:6443')(addBackend(null, added)(spec)),
    [],
  ],
  [
    'removeFrontend() undoes addFrontend()',
    one,
    (spec) => removeFrontend('rke2')(addFrontend(frontend)(spec)),
    [],
  ],
  ['addFrontend() twice', addFrontend(frontend)(one), addFrontend(frontend), []],
];

for (const [what, before, edit, changes] of edits) {
  test(`${what} changes ${changes.length === 0 ? 'nothing' : 'just that'}`, () => {
    assert.deepEqual(diffSpecs(before, edit(before)), changes);
  });
}

test('removeVip() takes its frontends along', () => {
  assert.deepEqual(removeVip('10.0.0.100')(two), { ...two, vips: [], frontends: [] });
});

const refused: readonly [what: string, before: Spec, edit: SpecEdit, line: string][] = [
  [
    'a VIP on another interface',
    one,
    addVip('10.0.0.100', 'eth1'),
    'the VIP 10.0.0.100 is there already, on interface that of its subnet; ' +
      'change it with `holdfast get spec` and `holdfast apply`',
  ],
  [
    'to remove a VIP that is not there',
    one,
    removeVip('10.0.0.9'),
    'there is no VIP 10.0.0.9; there is: 10.0.0.100',
  ],
  [
    'to remove a frontend that is not there',
    two,
    removeFrontend('x'),
    'there is no frontend x; there is: kube-apiserver, port-9345',
  ],
  [
    'a backend for one of several frontends',
    two,
    addBackend(null, added),
    'which frontend is meant is not clear; name it with --frontend: kube-apiserver, port-9345',
  ],
  [
    'to remove a backend that is not there',
    withStatic,
    removeBackend(null, '10.0.0.51'),
    'there is no backend 10.0.0.51; there is: 10.0.0.50',
  ],
  [
    'to drain a name that nobody has',
    withStatic,
    drain('n9'),
    'there is no backend n9; there is: n1, n2, n3, 10.0.0.50',
  ],
  [
    'a frontend with the name of another',
    one,
    addFrontend({ ...frontend, name: 'kube-apiserver' }),
    'a frontend kube-apiserver is there already; ' +
      'choose another name, or change it with `holdfast get spec` and `holdfast apply`',
  ],
];

for (const [what, before, edit, line] of refused) {
  test(`an edit refuses ${what}, and says what there is`, () => {
    assert.throws(
      () => edit(before),
      (error) => error instanceof OperatingError && error.line === line,
    );
  });
}
