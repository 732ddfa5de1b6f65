/**
 * What changes from one spec to another, as lines that a person reads before saying yes. Items of
 * lists are named by what they are (`frontends[kube-apiserver]`), so that removing the first VIP
 * does not read as changing all the others.
 */
import type { Spec } from './spec.ts';
import { specBody } from './spec-document.ts';

export function sameSpec(left: Spec, right: Spec): boolean {
  return diffSpecs(left, right).length === 0;
}

/**
 * One line per difference: `+ path: value`, `- path: value`, `~ path: old → new`; none if equal.
 */
export function diffSpecs(before: Spec, after: Spec): string[] {
  const old = flatten(before);
  const now = flatten(after);
  const lines: string[] = [];
  for (const [path, value] of old) {
    const other = now.get(path);
    if (other === undefined) lines.push(`- ${path}: ${value}`);
    else if (other !== value) lines.push(`~ ${path}: ${value} → ${other}`);
  }
  for (const [path, value] of now) if (!old.has(path)) lines.push(`+ ${path}: ${value}`);
  return lines;
}

/**
 * What would stop answering if `after` replaced `before`, in words; empty where nothing would, so
 * that no confirmation is needed.
 */
export function needsConfirmation(before: Spec, after: Spec): string[] {
  const reasons: string[] = [];
  for (const vip of before.vips) {
    if (after.vips.some((each) => each.address === vip.address)) continue;
    reasons.push(`the VIP ${vip.address} would be removed`);
  }
  for (const frontend of before.frontends) {
    const successor = after.frontends.find((each) => each.name === frontend.name);
    if (successor === undefined) {
      reasons.push(`the frontend ${frontend.name} would be removed`);
    } else if (hasBackends(frontend) && !hasBackends(successor)) {
      reasons.push(`the frontend ${frontend.name} would lose its last backend`);
    }
  }
  return reasons;
}

function hasBackends(frontend: Spec['frontends'][number]): boolean {
  const { members, static: fixed } = frontend.backends;
  return members !== null || fixed.some((backend) => !backend.draining);
}

/** Path → value as text, in the order of the document. */
function flatten(spec: Spec): Map<string, string> {
  const leaves = new Map<string, string>();
  const walk = (path: string, value: unknown): void => {
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) walk(`${path}[${itemName(item, index)}]`, item);
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) {
        walk(path === '' ? key : `${path}.${key}`, inner);
      }
    } else leaves.set(path, String(value));
  };
  walk('', specBody(spec));
  return leaves;
}

function itemName(item: unknown, index: number): string {
  if (typeof item === 'string') return item;
  if (typeof item !== 'object' || item === null) return String(index);
  if ('name' in item) return String(item.name);
  if (!('address' in item)) return String(index);
  return 'port' in item ? `${item.address}:${item.port}` : String(item.address);
}
