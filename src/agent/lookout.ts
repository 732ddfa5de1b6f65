/**
 * A member looks at the VIPs that another one holds, as a client would: it asks the link who has
 * the address, by a frame of its own and not from a cache, and connects to it. What it sees goes to
 * the leader, for `status`: port security, ARP suppression, a wrong VLAN are visible only from
 * outside.
 */
import { connect } from 'node:net';
import { type Clock, type Millis, sleep, type Timer } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import { ipFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { ClusterNode } from '../cluster/node.ts';
import type { Observation } from '../cluster/observations.ts';
import type { Operations } from '../cluster/operations.ts';
import { memberById } from '../cluster/state.ts';
import type { ClusterView } from '../cluster/view.ts';
import type { AnnounceLink, Link, VipPlacement } from '../vip/ports.ts';

/** A new holder has claimed by then. */
const FIRST_AFTER_MS: Millis = 100;
const EVERY_MS: Millis = 10_000;
/** What has gone wrong is looked at again so often, to say soon that it has ended. */
const AGAIN_MS: Millis = 1_000;
/** Nothing is called unreachable that is reached at the second look. */
const CONFIRM_AFTER_MS: Millis = 200;
/** The holder's kernel answers in less than a millisecond. */
const ANSWER_MS: Millis = 100;
const CONNECT_MS: Millis = 500;

export interface LookoutParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly node: Pick<ClusterNode, 'view' | 'onView'>;
  readonly link: AnnounceLink;
  /** The VIPs that have an interface here. */
  readonly vips: () => readonly VipPlacement[];
  readonly links: () => readonly Link[];
  /** Connects and closes; why it could not, or null. */
  readonly connect: Connect;
  readonly report: Operations['observe'];
}

export type Connect = (address: string, port: number, timeoutMs: Millis) => Promise<string | null>;

export class Lookout {
  readonly #parts: LookoutParts;
  #seen: readonly Observation[] = [];
  #leader: { readonly term: number; readonly id: string | null } = { term: 0, id: null };
  /** The addresses that the spec has. */
  #vips = '';
  #timer: Timer | null = null;
  #stopWatching: () => void = () => undefined;
  #stopped = false;

  constructor(parts: LookoutParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#stopWatching = this.#parts.node.onView((view) => this.#viewChanged(view));
    this.#viewChanged(this.#parts.node.view());
  }

  stop(): void {
    this.#stopped = true;
    this.#stopWatching();
    this.#timer?.cancel();
  }

  /** What was last seen of a VIP of the present leader; null where nothing was. */
  seen(address: string): Observation | null {
    return this.#seen.find((each) => each.address === address) ?? null;
  }

  /** Another leader, or another VIP, is a claim that wants to be looked at. */
  #viewChanged({ term, leader, state }: ClusterView): void {
    const isLed = term === this.#leader.term && leader === this.#leader.id;
    const vips = state.spec.vips.map(({ address }) => address).join();
    if (isLed && vips === this.#vips) return;
    // What is under way is about a former leader, or about fewer VIPs.
    this.#leader = { term, id: leader };
    this.#vips = vips;
    if (!isLed) this.#seen = [];
    this.#lookAfter(FIRST_AFTER_MS);
  }

  #lookAfter(delayMs: Millis): void {
    this.#timer?.cancel();
    this.#timer = null;
    const { clock, node } = this.#parts;
    const { id } = this.#leader;
    if (this.#stopped || id === null || id === node.view().selfId) return;
    this.#timer = clock.after(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { clock, node, log } = this.#parts;
    const leader = this.#leader;
    let beganAt = clock.now();
    let observations = await this.#observe(node.view());
    if (observations.some(({ reached }) => !reached)) {
      await sleep(clock, CONFIRM_AFTER_MS);
      beganAt = clock.now();
      observations = await this.#observe(node.view());
    }
    // What was seen of a former leader's VIP says nothing about the present one's.
    if (this.#stopped || leader !== this.#leader) return;
    this.#seen = observations;
    this.#lookAfter(observations.every(({ reached }) => reached) ? EVERY_MS : AGAIN_MS);
    if (observations.length === 0) return;
    const { selfId: nodeId } = node.view();
    const ageMs = clock.now() - beganAt;
    try {
      await this.#parts.report({ nodeId, term: leader.term, ageMs, observations });
    } catch (error) {
      log.debug('vip.observation-not-told', { why: describeError(error) });
    }
  }

  #observe(view: ClusterView): Promise<readonly Observation[]> {
    const links = this.#parts.links();
    return Promise.all(this.#parts.vips().map((vip) => this.#observeOne(vip, view, links)));
  }

  async #observeOne(
    vip: VipPlacement,
    view: ClusterView,
    links: readonly Link[],
  ): Promise<Observation> {
    const { address } = vip;
    const why = (await this.#resolve(vip, view, links)) ?? (await this.#connect(address, view));
    return { address, reached: why === null, reason: why ?? '' };
  }

  /** Why the address does not resolve to the holder, or null where it does. */
  async #resolve(
    vip: VipPlacement,
    view: ClusterView,
    links: readonly Link[],
  ): Promise<string | null> {
    const family = ipFamily(vip.address);
    const protocol = family === 4 ? 'ARP' : 'ND';
    const link = links.find(({ name }) => name === vip.interface);
    const vips = view.state.spec.vips.map(({ address }) => address);
    const own = link?.addresses.find(
      ({ address }) => ipFamily(address) === family && !vips.includes(address),
    );
    let answers: readonly string[];
    try {
      answers = await this.#parts.link.probe(vip, ANSWER_MS, own?.address);
    } catch (error) {
      return describeError(error);
    }
    if (answers.length === 0) return `no ${protocol} answer`;
    const expected = memberById(view.state, view.leader ?? '')?.macs ?? [];
    const other = answers.find((mac) => !expected.includes(mac));
    if (expected.length === 0 || other === undefined) return null;
    return `${protocol} answered by ${other}, expected ${expected.join(' or ')}`;
  }

  async #connect(address: string, view: ClusterView): Promise<string | null> {
    const frontend = view.state.spec.frontends.find(
      ({ vip, protocol }) => vip === address && protocol === 'tcp',
    );
    if (frontend === undefined) return null;
    return this.#parts.connect(address, frontend.port, CONNECT_MS);
  }
}

/** {@link Connect} by this host's kernel. */
export function connectOnce(
  clock: Clock,
  address: string,
  port: number,
  timeoutMs: Millis,
): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (why: string | null): void => {
      timer.cancel();
      socket.destroy();
      resolve(why);
    };
    const timer = clock.after(timeoutMs, () => end(`connect to port ${port} timed out`));
    socket.once('connect', () => end(null));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const refused = error.code === 'ECONNREFUSED';
      end(refused ? `connect to port ${port} refused` : `connect to port ${port}: ${error.code}`);
    });
  });
}
