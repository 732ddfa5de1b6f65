/** The rules around virtual servers, as text; the test VM shows that the kernel takes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ForwardBackend, ForwardPlan } from '../../../src/lb/ports.ts';
import { ipvsRules } from '../../../src/linux/ipvs-rules.ts';

const backend: ForwardBackend = {
  name: 'n1',
  address: '10.0.0.11',
  port: 6443,
  weight: 1,
  mode: 'masquerade',
};
const plan: ForwardPlan = {
  name: 'api',
  address: '10.0.0.100',
  port: 443,
  protocol: 'tcp',
  scheduler: 'round-robin',
  backends: [backend],
};

test('a plan with backends is marked, and what was translated leaves with an own address', () => {
  const rules = ipvsRules([{ plan, mark: 7 }]);
  assert.match(rules, /map marks4 .* elements = { 10\.0\.0\.100 \. tcp \. 443 : 7 }; }/);
  assert.match(rules, /set targets4 .* elements = { 10\.0\.0\.11 \. tcp \. 6443 }; }/);
  assert.match(rules, /set refused4 { type [^;]*; }/);
  assert.match(rules, /meta mark { 7 } meta mark set 0/);
});

test('a plan without backends is refused and not marked', () => {
  const rules = ipvsRules([{ plan: { ...plan, backends: [] }, mark: null }]);
  assert.match(rules, /set refused4 .* elements = { 10\.0\.0\.100 \. tcp \. 443 }; }/);
  assert.match(rules, /map marks4 { type [^;]*; }/);
});

test('what is routed unchanged keeps its source', () => {
  const rules = ipvsRules([
    { plan: { ...plan, backends: [{ ...backend, mode: 'direct' }] }, mark: 7 },
  ]);
  assert.match(rules, /set targets4 { type [^;]*; }/);
});

test('each family has sets of its own', () => {
  const other = { ...plan, address: 'fd00::100', backends: [{ ...backend, address: 'fd00::b' }] };
  const rules = ipvsRules([
    { plan, mark: 7 },
    { plan: other, mark: 8 },
  ]);
  assert.match(rules, /map marks6 .* elements = { fd00::100 \. tcp \. 443 : 8 }; }/);
  assert.match(rules, /set vips4 .* elements = { 10\.0\.0\.100 }; }/);
});

test('without plans the chains still stand, so that the kernel goes on translating', () => {
  assert.match(ipvsRules([]), /type nat hook postrouting/);
});
