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
  const rules = ipvsRules([{ plan, mark: 7 }], true);
  assert.match(rules, /add element inet holdfast_ipvs marks4 { 10\.0\.0\.100 \. tcp \. 443 : 7 }/);
  assert.match(rules, /add element inet holdfast_ipvs targets4 { 10\.0\.0\.11 \. tcp \. 6443 }/);
  assert.match(rules, /add element inet holdfast_ipvs marks { 7 }/);
  assert.doesNotMatch(rules, /add element inet holdfast_ipvs refused4/);
});

test('a plan without backends is refused and not marked', () => {
  const rules = ipvsRules([{ plan: { ...plan, backends: [] }, mark: null }], true);
  assert.match(rules, /add element inet holdfast_ipvs refused4 { 10\.0\.0\.100 \. tcp \. 443 }/);
  assert.doesNotMatch(rules, /add element inet holdfast_ipvs marks4/);
});

test('what is routed unchanged keeps its source', () => {
  const backends = [{ ...backend, mode: 'direct' } as const];
  const rules = ipvsRules([{ plan: { ...plan, backends }, mark: 7 }], true);
  assert.doesNotMatch(rules, /add element inet holdfast_ipvs targets4/);
});

test('each family has sets of its own', () => {
  const other = { ...plan, address: 'fd00::100', backends: [{ ...backend, address: 'fd00::b' }] };
  const plans = [
    { plan, mark: 7 },
    { plan: other, mark: 8 },
  ];
  const rules = ipvsRules(plans, true);
  assert.match(rules, /add element inet holdfast_ipvs marks6 { fd00::100 \. tcp \. 443 : 8 }/);
  assert.match(rules, /add element inet holdfast_ipvs vips4 { 10\.0\.0\.100 }/);
});

test('the chains are made once, and stand without plans, so that packets are translated', () => {
  assert.match(ipvsRules([], false), /type nat hook postrouting/);
  assert.doesNotMatch(ipvsRules([{ plan, mark: 7 }], true), /chain/);
});
