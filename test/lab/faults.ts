/**
 * What may go wrong between the hosts, as one ruleset of the switch. The faults in force are data;
 * each change replaces the whole ruleset in one transaction, so a fault begins at one instant.
 * Frames to and from the switch itself (the observer's) are not forwarded and so not touched.
 */
import { must } from './shell.ts';

/** A frame entering by port `from` is not let out by port `to`. */
export interface Block {
  readonly from: string;
  readonly to: string;
}

export interface Faults {
  readonly blocks: readonly Block[];
  /** Share of all forwarded frames that are lost, 0 to 100. */
  readonly lossPercent: number;
}

const noFaults: Faults = { blocks: [], lossPercent: 0 };

/** The ruleset that brings `faults` about, replacing the former one. */
export function rulesFor({ blocks, lossPercent }: Faults): string {
  const drops = blocks.map(({ from, to }) => `iifname "${from}" oifname "${to}" counter drop`);
  const loss = lossPercent > 0 ? [`numgen random mod 1000 < ${lossPercent * 10} counter drop`] : [];
  return [
    'table bridge lab { chain forward { type filter hook forward priority 0; policy accept; }; }',
    'flush chain bridge lab forward',
    ...[...drops, ...loss].map((rule) => `add rule bridge lab forward ${rule}`),
    '',
  ].join('\n');
}

/** Every pair of ports in different groups, both ways; ports in no group are not affected. */
export function blocksBetween(groups: readonly (readonly string[])[]): readonly Block[] {
  return groups.flatMap((mine, i) =>
    groups.flatMap((theirs, j) =>
      i === j ? [] : mine.flatMap((from) => theirs.map((to) => ({ from, to }))),
    ),
  );
}

export class Switch {
  readonly #namespace: string;
  readonly #ports: readonly string[];
  #faults = noFaults;

  constructor(namespace: string, ports: readonly string[]) {
    this.#namespace = namespace;
    this.#ports = ports;
  }

  /** Silently loses everything from and to the host; its link stays up. */
  async cut(host: string): Promise<void> {
    await this.oneWay(host, 'in');
    await this.oneWay(host, 'out');
  }

  /** `in`: the host hears nobody. `out`: nobody hears the host. */
  oneWay(host: string, direction: 'in' | 'out'): Promise<void> {
    const others = this.#ports.filter((port) => port !== host);
    return this.block(
      others.map((other) =>
        direction === 'in' ? { from: other, to: host } : { from: host, to: other },
      ),
    );
  }

  partition(groups: readonly (readonly string[])[]): Promise<void> {
    return this.block(blocksBetween(groups));
  }

  block(blocks: readonly Block[]): Promise<void> {
    return this.#set({ ...this.#faults, blocks: [...this.#faults.blocks, ...blocks] });
  }

  loss(percent: number): Promise<void> {
    return this.#set({ ...this.#faults, lossPercent: percent });
  }

  /** Pulls the host's cable: its interface loses the carrier. */
  async unplug(host: string): Promise<void> {
    await must(['ip', '-n', this.#namespace, 'link', 'set', host, 'down']);
  }

  /** Ends every fault of the switch, pulled cables included. */
  async heal(): Promise<void> {
    await this.#set(noFaults);
    const lines = this.#ports.map((port) => `link set ${port} up\n`);
    await must(['ip', '-n', this.#namespace, '-batch', '-'], { input: lines.join('') });
  }

  async #set(faults: Faults): Promise<void> {
    const nft = ['ip', 'netns', 'exec', this.#namespace, 'nft', '-f', '-'];
    await must(nft, { input: rulesFor(faults) });
    this.#faults = faults;
  }
}
