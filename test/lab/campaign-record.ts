/**
 * What the campaign remembers of each run, and the table that is made of it: pure, so that a run
 * that was interrupted goes on and the page always says how many runs there really were.
 */
import { quantile } from './gaps.ts';

/** The clusters on which faults are played. */
export const settings = [
  { name: 'three nodes', hosts: 3, bpf: true },
  { name: 'five nodes', hosts: 5, bpf: true },
  { name: 'three nodes, eBPF refused', hosts: 3, bpf: false },
] as const;

export type Setting = (typeof settings)[number];

export interface RunRecord {
  /** Of what was tested: a run of another build is not done yet. */
  readonly build: string;
  readonly setting: string;
  readonly fault: string;
  readonly run: number;
  readonly seed: number;
  /** Two hosts held a VIP at one instant for so long in all; zero-length ones count as 0.001. */
  readonly overlapMs: number;
  /** Longest time in which nobody claimed a VIP. */
  readonly silentMs: number;
  /** What the fault measured besides, ms by name. */
  readonly figures: Readonly<Record<string, readonly number[]>>;
  /** Why the run did not come to its end; null if it did. */
  readonly failure: string | null;
}

/** Stands for itself: the same run of the same fault plays the same chances. */
export function seedOf(setting: string, fault: string, run: number): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${setting}/${fault}/${run}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash;
}

export function isDone(records: readonly RunRecord[], run: Partial<RunRecord>): boolean {
  return records.some(
    (record) =>
      record.build === run.build &&
      record.setting === run.setting &&
      record.fault === run.fault &&
      record.run === run.run,
  );
}

const intro = `# The campaign: never two holders

\`make campaign RUNS=30\` plays every fault below so many times on real agents in network
namespaces, and looks for two hosts that hold a VIP at one instant. An observer in the switch asks
for each VIP by ARP and neighbour solicitation every 5 ms, and sends packets for it straight to each
host's MAC: an echo request every 10 ms, a TCP segment every 20 ms. Any answer makes its sender a
holder at that instant. An interrupted campaign goes on where it was, as long as the program is the
same; every run has a seed of its own, made of its setting, fault and number.

*Silence* is the longest time in which nobody answered, *mute after* the time from a SIGSTOP or
SIGKILL to the last answer of that host for either VIP. A step of the wall clock is missing: it
needs a machine of its own.
`;

/** The whole page; of each setting what its newest build has come to. */
export function campaignPage(records: readonly RunRecord[]): string {
  const shown = settings.map(({ name }) => {
    const all = records.filter(({ setting }) => setting === name);
    const build = all.at(-1)?.build ?? '';
    return { name, build, mine: all.filter((record) => record.build === build) };
  });
  const sections = shown
    .filter(({ mine }) => mine.length > 0)
    .map(({ name, build, mine }) => {
      const line = `Runs so far: ${mine.length}, of build ${build}.`;
      return `## ${capital(name)}\n\n${line}\n\n${settingTable(mine)}`;
    });
  const failures = shown
    .flatMap(({ mine }) => mine)
    .filter(({ failure, overlapMs }) => failure !== null || overlapMs > 0);
  const list = failures.map(
    ({ setting, fault, run, seed, overlapMs, failure }) =>
      `- ${setting}, ${fault}, run ${run}, seed ${seed.toString(16)}: ` +
      (overlapMs > 0 ? `two holders for ${overlapMs.toFixed(3)} ms` : `${failure}`),
  );
  const told = list.length === 0 ? '' : `\n## Runs that failed\n\n${list.join('\n')}\n`;
  return `${intro}\n${sections.join('\n')}${told}`;
}

function settingTable(records: readonly RunRecord[]): string {
  const rows = [...new Set(records.map(({ fault }) => fault))].map((fault) => {
    const mine = records.filter((record) => record.fault === fault);
    const silences = mine.map(({ silentMs }) => silentMs);
    const mutes = mine.flatMap(({ figures }) => figures['mute after'] ?? []);
    const seeds = mine.map(({ seed }) => seed.toString(16));
    const shown = seeds.length > 2 ? `${seeds[0]} … ${seeds.at(-1)}` : seeds.join(' ');
    return [
      fault,
      String(mine.length),
      String(mine.filter(({ overlapMs }) => overlapMs > 0).length),
      String(mine.filter(({ failure }) => failure !== null).length),
      `${ms(quantile(silences, 0.5))} / ${ms(Math.max(...silences))}`,
      mutes.length === 0 ? '' : `${mutes.length}: ${ms(Math.max(...mutes))}`,
      shown,
    ];
  });
  const head = [
    'fault',
    'runs',
    'with two holders',
    'unfinished',
    'silence, median / max',
    'mute after, count: max',
    'seeds (hex)',
  ];
  const lines = [head, head.map(() => '---'), ...rows];
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`;
}

function ms(value: number): string {
  return `${value.toFixed(0)} ms`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
