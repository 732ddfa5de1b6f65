/**
 * `make campaign RUNS=30`: every fault, on three and five nodes, so many times. Progress is kept,
 * so an interrupted campaign goes on; the page in docs/ says after each run what there is so far.
 *
 *     ONLY='three nodes' FAULT=SIGSTOP RUNS=5 node test/lab/campaign.ts
 */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Fault, faults } from './campaign-faults.ts';
import {
  campaignPage,
  isDone,
  type RunRecord,
  type Setting,
  seedOf,
  settings,
} from './campaign-record.ts';
import { judge, playFault, type Verdict } from './campaign-run.ts';
import { Scene } from './scene.ts';

const root = join(import.meta.dirname, '../..');
const stateFile = join(root, '.cache/campaign.jsonl');
const page = join(root, 'docs/campaign.md');
const runs = Number(process.env.RUNS ?? 30);
const only = process.env.ONLY;
const wanted = process.env.FAULT ?? '';
if (!Number.isInteger(runs) || runs < 1) throw new Error('RUNS must be a positive integer');

const build = createHash('sha256')
  .update(readFileSync(join(root, 'dist/main.js')))
  .update(readFileSync(join(root, 'dist/worker.js')))
  .digest('hex')
  .slice(0, 12);
const records = readRecords();
const before = records.filter((record) => record.build === build);
if (before.length > 0) console.log(`${before.length} runs of this build were done before`);

for (const setting of settings) {
  if (only === undefined || setting.name === only) await playSetting(setting);
}
const all = records.filter((record) => record.build === build);
const bad = all.filter(({ failure, overlapMs }) => failure !== null || overlapMs > 0);
console.log(`${all.length} runs, ${bad.length} of them bad; see docs/campaign.md`);
process.exitCode = bad.length === 0 ? 0 : 1;

async function playSetting(setting: Setting): Promise<void> {
  let scene: Scene | null = null;
  for (const { fault, run } of todo(setting)) {
    scene ??= await Scene.create({ hosts: setting.hosts, ipv6: true, bpf: setting.bpf });
    const seed = seedOf(setting.name, fault.name, run);
    const key = { build, setting: setting.name, fault: fault.name, run, seed };
    const outcome = await attempt(scene, fault, seed);
    keep({ ...key, ...outcome });
    if (outcome.failure === null) continue;
    // Whatever it left must not be blamed on the next run.
    await scene.close();
    scene = null;
  }
  await scene?.close();
}

function* todo(setting: Setting): Generator<{ readonly fault: Fault; readonly run: number }> {
  const mine = faults
    .filter(({ alsoWithoutBpf }) => setting.bpf || alsoWithoutBpf === true)
    .filter(({ name }) => name.includes(wanted));
  const most = Math.max(runs, ...mine.map(({ runsAtLeast = 0 }) => runsAtLeast));
  for (let run = 1; run <= most; run++) {
    for (const fault of mine) {
      if (run > Math.max(runs, fault.runsAtLeast ?? 0)) continue;
      if (isDone(records, { build, setting: setting.name, fault: fault.name, run })) continue;
      yield { fault, run };
    }
  }
}

async function attempt(
  scene: Scene,
  fault: Fault,
  seed: number,
): Promise<Verdict & { readonly failure: string | null }> {
  try {
    return { ...(await playFault(scene, fault, { seed })), failure: null };
  } catch (error) {
    const [failure = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return { ...(await judge(scene)), figures: {}, failure };
  }
}

function keep(record: RunRecord): void {
  records.push(record);
  mkdirSync(join(root, '.cache'), { recursive: true });
  appendFileSync(stateFile, `${JSON.stringify(record)}\n`);
  writeFileSync(page, campaignPage(records));
  const { setting, fault, run, seed, overlapMs, silentMs, failure } = record;
  const verdict = overlapMs > 0 ? `TWO HOLDERS for ${overlapMs.toFixed(3)} ms` : 'one holder';
  console.log(
    `${setting}, ${fault}, run ${run}, seed ${seed.toString(16)}: ${failure ?? verdict}, ` +
      `silent for ${silentMs.toFixed(0)} ms`,
  );
}

function readRecords(): RunRecord[] {
  if (!existsSync(stateFile)) return [];
  const lines = readFileSync(stateFile, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as RunRecord);
}
