/**
 * A client from outside, played on this host: a device of our own (trial-device.ts) on which a SYN
 * arrives for an address that is translated to a backend, as a client's would be for the VIP. It is
 * passed on, masqueraded and answered by whatever rules, routes and programs this host has, and the
 * answer comes back to the device, or it does not. No VIP is needed, and nobody else is concerned:
 * the connection is reset as soon as it is established.
 */
import type { Clock, Millis } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import { type IpFamily, ipFamily } from '../base/ip.ts';
import type { Prng } from '../base/prng.ts';
import type { Trial } from '../lb/ports.ts';
import { enableForwarding } from './forwarding-sysctls.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { hasTable, NETLINK_NETFILTER, nft, nftSync, removeTable, TABLE } from './nft.ts';
import { listAddresses, NETLINK_ROUTE } from './rtnetlink.ts';
import { TRIAL_DEVICE, TrialDevice } from './trial-device.ts';
import { decodePacket, encodeSegment, type Segment, TcpFlag } from './trial-packets.ts';

export const TRIAL_TABLE = `${TABLE}_trial`;

/** Of no use to anybody else: link-local, and of a random unique local prefix. */
const ADDRESSES = {
  4: { device: '169.254.72.69', client: '169.254.72.70', prefixLength: 30 },
  6: { device: 'fd68:6f6c:6466:7472::1', client: 'fd68:6f6c:6466:7472::2', prefixLength: 126 },
} as const;

/** As forwarding does it, and no later than anybody else. */
const NAT_PRIORITY = -111;
const SOURCE_PRIORITY = 99;

/** One packet may be lost. */
const SYN_AFTER_MS: readonly Millis[] = [0, 250, 500];
const PATIENCE_MS: Millis = 1_000;
const LOOK_EVERY_MS: Millis = 5;
/** Ports of the trial's address, one for each backend, as long as they are not too many. */
const MAX_TARGETS = 256;
const FIRST_PORT = 20_000;
const PORTS = 40_000;

export interface TrialParts {
  readonly clock: Clock;
  readonly random: Prng;
}

export function createTrial(parts: TrialParts): Trial {
  return new TunTrial(parts);
}

interface Endpoint {
  readonly address: string;
  readonly port: number;
}

class TunTrial implements Trial {
  readonly #parts: TrialParts;
  readonly #netfilter = new NetlinkSocket(NETLINK_NETFILTER);
  readonly #route = new NetlinkSocket(NETLINK_ROUTE);
  #device: TrialDevice | null = null;
  /** Backends by their port at the trial's address; the kernel's table holds the same. */
  #targets: Endpoint[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(parts: TrialParts) {
    this.#parts = parts;
  }

  isRemote(address: string): boolean {
    return !listAddresses(this.#route).some((row) => row.address === address);
  }

  run(backend: Endpoint): Promise<string | null> {
    const turn = this.#queue.then(() => this.#run(backend));
    const outcome = turn.catch(
      (error: unknown) => `the kernel's path cannot be tried: ${describeError(error)}`,
    );
    this.#queue = outcome;
    return outcome;
  }

  close(): void {
    this.#device?.close();
    if (hasTable(this.#netfilter, 'inet', TRIAL_TABLE)) nftSync(removeTable('inet', TRIAL_TABLE));
    this.#netfilter.close();
    this.#route.close();
  }

  async #run(backend: Endpoint): Promise<string | null> {
    const family = ipFamily(backend.address) ?? 4;
    enableForwarding(family);
    this.#device ??= new TrialDevice([deviceAddress(4), deviceAddress(6)]);
    const toPort = await this.#portOf(backend);
    return this.#knock(this.#device, family, toPort, backend);
  }

  async #portOf({ address, port }: Endpoint): Promise<number> {
    const at = this.#targets.findIndex((each) => each.address === address && each.port === port);
    if (at >= 0 && hasTable(this.#netfilter, 'inet', TRIAL_TABLE)) return at + 1;
    if (at < 0) this.#targets = [...this.#targets, { address, port }].slice(-MAX_TARGETS);
    await nft(trialRules(this.#targets));
    return this.#targets.findIndex((each) => each.address === address && each.port === port) + 1;
  }

  async #knock(
    device: TrialDevice,
    family: IpFamily,
    toPort: number,
    backend: Endpoint,
  ): Promise<string | null> {
    const { clock, random } = this.#parts;
    const { client, device: to } = ADDRESSES[family];
    const syn: Segment = {
      ...{ from: client, to, toPort, flags: TcpFlag.syn, acknowledges: 0 },
      fromPort: FIRST_PORT + Math.floor(random() * PORTS),
      sequence: Math.floor(random() * 2 ** 32),
    };
    while (device.receive() !== null);
    const began = clock.now();
    const due = [...SYN_AFTER_MS];
    const where = `${backend.address} port ${backend.port}`;
    for (;;) {
      const elapsed = clock.now() - began;
      if (elapsed >= PATIENCE_MS) return `${SILENCE} (${where} did not answer)`;
      if (elapsed >= (due[0] ?? PATIENCE_MS)) {
        due.shift();
        device.send(encodeSegment(syn));
      }
      const answer = answerTo(device, syn);
      if (answer === 'unreachable') return `${REFUSAL} (no way to ${where})`;
      if (answer !== null && (answer.flags & TcpFlag.rst) !== 0) return `${REFUSAL} (for ${where})`;
      if (answer !== null) {
        const sequence = answer.acknowledges;
        device.send(encodeSegment({ ...syn, sequence, flags: TcpFlag.rst }));
        return null;
      }
      await new Promise<void>((resolve) => void clock.after(LOOK_EVERY_MS, resolve));
    }
  }
}

const SILENCE = 'a firewall or program of this host drops what the kernel passes on';
const REFUSAL = 'a firewall of this host refuses what the kernel passes on';

function deviceAddress(family: IpFamily): { address: string; prefixLength: number } {
  const { device: address, prefixLength } = ADDRESSES[family];
  return { address, prefixLength };
}

/** What came back to the client that sent `syn`: an answer in TCP, or a refusal. */
function answerTo(device: TrialDevice, syn: Segment): Segment | 'unreachable' | null {
  for (let packet = device.receive(); packet !== null; packet = device.receive()) {
    const segment = decodePacket(packet);
    if (segment === 'unreachable') return segment;
    if (segment?.toPort === syn.fromPort && segment.fromPort === syn.toPort) return segment;
  }
  return null;
}

function trialRules(targets: readonly Endpoint[]): string {
  const chains = ([4, 6] as const).map((family) => {
    const elements = targets.flatMap(({ address, port }, index) =>
      ipFamily(address) === family ? [`${index + 1} : ${address} . ${port}`] : [],
    );
    if (elements.length === 0) return { arriving: '', sending: '' };
    const ip = family === 4 ? 'ip' : 'ip6';
    const { device } = ADDRESSES[family];
    const map = `{ ${elements.join(', ')} }`;
    return {
      arriving: `    ${ip} daddr ${device} dnat ${ip} to tcp dport map ${map}\n`,
      sending: `    ct original ${ip} daddr ${device} masquerade\n`,
    };
  });
  return `${removeTable('inet', TRIAL_TABLE)}table inet ${TRIAL_TABLE} {
  chain arriving {
    type nat hook prerouting priority ${NAT_PRIORITY}; policy accept;
    iifname != "${TRIAL_DEVICE}" return
${chains.map(({ arriving }) => arriving).join('')}  }
  chain sending {
    type nat hook postrouting priority ${SOURCE_PRIORITY}; policy accept;
    ct status & dnat != dnat return
${chains.map(({ sending }) => sending).join('')}  }
}
`;
}
