/**
 * The kernel's guard of the VIPs: a program on both directions of every interface that carries one,
 * with one absolute deadline. It needs nothing of the agent to fall shut, and it stays when the
 * agent is killed. Two places hold the same program: the TCX chain (Linux 6.6), at its head,
 * because a foreign TCX program may end a frame's way before clsact; and clsact, which every kernel
 * has and which tells a later agent which program was ours.
 *
 * A later agent closes first and removes second: its own, shut program stands before the dead
 * one's is taken away, so that there is no moment without a guard.
 */
import { assert, defined } from '../base/assert.ts';
import type { Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { parseIp } from '../base/ip.ts';
import type { VipPlacement } from '../vip/ports.ts';
import { WeakHostRule } from './arp-rule.ts';
import {
  attachTcxFirst,
  createMap,
  deleteFromMap,
  detachTcxById,
  loadClassifier,
  lookUpMap,
  MapType,
  preparedUpdate,
  programId,
  queryTcx,
  Tcx,
  updateMap,
} from './bpf.ts';
import { monotonicNow, rawNow } from './clock.ts';
import {
  CELL_COUNT,
  Cell,
  type Direction,
  type FenceMaps,
  fenceProgram,
  KEY_BYTES,
} from './fence-program.ts';
import {
  fencedLinks,
  isFenceProgram,
  PROGRAM_NAME,
  removeFence,
  removeNftFence,
} from './fence-removal.ts';
import type { HostFence } from './host-fence.ts';
import { closeFd, interfaceName } from './libc.ts';
import { u32 } from './netlink-message.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { listLinks, NETLINK_ROUTE } from './rtnetlink.ts';
import { DIRECTIONS, filterProgramId, putFilter } from './traffic-control.ts';

/** More VIPs than anybody announces from one host. */
const VIPS_MAX = 256;
/**
 * The kernel's deadline counts CLOCK_MONOTONIC, which a time daemon may slew against the agent's
 * clock (chrony by 8 %): only this share of the time left is used.
 */
const SLEW_SHARE = 0.9;

interface Program {
  readonly fd: number;
  readonly id: number;
}
type Programs = Readonly<Record<Direction, Program>>;

export class EbpfFence implements HostFence {
  readonly kind = 'ebpf';
  readonly #socket = new NetlinkSocket(NETLINK_ROUTE);
  readonly #weakHost = new WeakHostRule();
  readonly #maps: FenceMaps;
  readonly #storeDeadline: () => void;
  /** The value that `#storeDeadline` stores: u64 nanoseconds, low half first. */
  readonly #deadline = new Uint32Array(2);
  readonly #hasTcx: boolean;
  #programs: Programs;
  /** Whether a former agent's programs have been looked for. */
  #swept = false;
  readonly #guardedLinks = new Set<number>();
  readonly #guardedVips = new Set<string>();

  /** Loads programs and maps; throws where the kernel or the capabilities do not allow it. */
  constructor() {
    this.#maps = {
      vips: createMap({
        type: MapType.hash,
        keyBytes: KEY_BYTES,
        valueBytes: 4,
        maxEntries: VIPS_MAX,
        name: 'holdfast_vips',
      }),
      cells: createMap({
        type: MapType.array,
        keyBytes: 4,
        valueBytes: 8,
        maxEntries: CELL_COUNT,
        name: 'holdfast_cells',
      }),
    };
    const bytes = new Uint8Array(this.#deadline.buffer);
    this.#storeDeadline = preparedUpdate(this.#maps.cells, u32(Cell.deadline), bytes);
    this.#programs = this.#load();
    const loopback = defined(
      listLinks(this.#socket).find((link) => link.loopback),
      'the loopback interface',
    );
    this.#hasTcx = queryTcx(loopback.index, Tcx.ingress) !== null;
  }

  arm(vips: readonly VipPlacement[]): void {
    assert(vips.length <= VIPS_MAX, `more than ${VIPS_MAX} VIPs`);
    const wanted = this.#linksOf(vips);
    const addresses = new Set(vips.map((vip) => vip.address));
    for (const address of addresses) {
      if (!this.#guardedVips.has(address)) updateMap(this.#maps.vips, key(address), u32(1));
      this.#guardedVips.add(address);
    }
    if ([...wanted].some((index) => this.#bypassed(index))) this.#moveToFront();
    for (const index of wanted) {
      if (!this.#guards(index) || !this.#filters(index)) this.#attach(index);
    }
    for (const index of [...this.#guardedLinks]) if (!wanted.has(index)) this.#detach(index);
    if (!this.#swept) this.#takeOver(wanted);
    for (const address of [...this.#guardedVips]) {
      if (addresses.has(address)) continue;
      deleteFromMap(this.#maps.vips, key(address));
      this.#guardedVips.delete(address);
    }
    this.#weakHost.set(vips);
  }

  open(deadline: Millis): void {
    // The order is the safe one: a pause between the two reads shortens the time that is left.
    const monotonic = monotonicNow();
    const leftMs = deadline - rawNow();
    this.#store(leftMs > 0 ? (monotonic + leftMs * SLEW_SHARE) * 1e6 : 0);
  }

  shut(): void {
    this.#store(0);
  }

  intact(): boolean {
    return this.#everyLink((index) => this.#guards(index));
  }

  /**
   * In how many places (TCX, clsact) the programs stand on every guarded link; looks no further
   * than for `enough` of them.
   */
  lines(enough: number): number {
    const places = [this.#hasTcx ? 'tcx' : null, 'clsact'] as const;
    let standing = 0;
    for (const place of places) {
      if (place === null || standing >= enough) continue;
      const holds = (index: number): boolean =>
        place === 'tcx' ? this.#heads(index) : this.#filters(index) && !this.#preceded(index);
      if (this.#everyLink(holds)) standing++;
    }
    return standing;
  }

  standing(): readonly string[] {
    return this.#guardedLinks.size > 0 && this.lines(1) > 0 ? [this.kind] : [];
  }

  disarm(): void {
    this.shut();
    for (const index of [...this.#guardedLinks]) this.#detach(index);
    for (const address of this.#guardedVips) deleteFromMap(this.#maps.vips, key(address));
    this.#guardedVips.clear();
    this.#weakHost.set([]);
  }

  trouble(): null {
    return null;
  }

  /** Frames dropped since this process loaded the fence. */
  drops(): number {
    const value = Buffer.alloc(8);
    lookUpMap(this.#maps.cells, u32(Cell.drops), value);
    return Number(value.readBigUInt64LE(0));
  }

  #store(nanoseconds: number): void {
    this.#deadline[0] = nanoseconds % 2 ** 32;
    this.#deadline[1] = Math.floor(nanoseconds / 2 ** 32);
    this.#storeDeadline();
  }

  #load(): Programs {
    const load = (direction: Direction): Program => {
      const fd = loadClassifier(fenceProgram(direction, this.#maps), PROGRAM_NAME);
      return { fd, id: programId(fd) };
    };
    return { ingress: load('ingress'), egress: load('egress') };
  }

  #linksOf(vips: readonly VipPlacement[]): Set<number> {
    const links = listLinks(this.#socket);
    return new Set(
      vips.map((vip) => {
        const link = links.find(({ name }) => name === vip.interface);
        if (link !== undefined) return link.index;
        throw new OperatingError({
          code: 'interface-missing',
          message: `interface ${vip.interface} is not there`,
          facts: { interface: vip.interface },
        });
      }),
    );
  }

  /**
   * Whether our present programs stand on both sides of the interface, first where there is TCX.
   */
  #guards(index: number): boolean {
    return this.#hasTcx ? this.#heads(index) : this.#filters(index);
  }

  /** Whether our present programs come first in both TCX chains. */
  #heads(index: number): boolean {
    return DIRECTIONS.every((direction) => {
      const { id } = this.#programs[direction];
      return queryTcx(index, Tcx[direction])?.ids[0] === id;
    });
  }

  /** Whether a TCX program of somebody else may end a frame's way before clsact sees it. */
  #preceded(index: number): boolean {
    if (!this.#hasTcx) return false;
    return DIRECTIONS.some((direction) => {
      const [first] = queryTcx(index, Tcx[direction])?.ids ?? [];
      return first !== undefined && first !== this.#programs[direction].id;
    });
  }

  #everyLink(holds: (index: number) => boolean): boolean {
    for (const index of this.#guardedLinks) {
      // A link that is gone lets nothing pass; asking for it costs, and is only done in doubt.
      if (!holds(index) && interfaceName(index) !== null) return false;
    }
    return true;
  }

  /** Whether our present programs are clsact's filters as well. */
  #filters(index: number): boolean {
    return DIRECTIONS.every((direction) => {
      const { id } = this.#programs[direction];
      return filterProgramId(this.#socket, index, direction) === id;
    });
  }

  /** Whether our program is in the chain, but somebody else's has been put before it. */
  #bypassed(index: number): boolean {
    if (!this.#hasTcx) return false;
    return DIRECTIONS.some((direction) => {
      const ids = queryTcx(index, Tcx[direction])?.ids ?? [];
      return ids.indexOf(this.#programs[direction].id) > 0;
    });
  }

  /**
   * A program cannot be moved within a chain: a second copy goes first, then the old one leaves.
   */
  #moveToFront(): void {
    const old = this.#programs;
    this.#programs = this.#load();
    for (const index of this.#guardedLinks) this.#attach(index);
    for (const direction of DIRECTIONS) closeFd(old[direction].fd);
  }

  /**
   * Ours goes in first; whatever else of ours is there, a dead agent's or an older copy, leaves.
   */
  #attach(index: number): void {
    for (const direction of DIRECTIONS) {
      const { fd, id } = this.#programs[direction];
      const stale = this.#oldPrograms(index, direction);
      if (this.#hasTcx && queryTcx(index, Tcx[direction])?.ids[0] !== id) {
        attachTcxFirst(index, fd, Tcx[direction]);
      }
      try {
        putFilter(this.#socket, { index, direction }, fd);
      } catch (error) {
        // Somebody's `ingress` qdisc may be in the way; TCX alone guards as well.
        if (!this.#hasTcx) throw error;
      }
      for (const old of stale) detachTcxById(index, old, Tcx[direction]);
    }
    this.#guardedLinks.add(index);
  }

  /** TCX programs of ours that are not the present ones. */
  #oldPrograms(index: number, direction: Direction): number[] {
    if (!this.#hasTcx) return [];
    const filterId = filterProgramId(this.#socket, index, direction);
    const ids = queryTcx(index, Tcx[direction])?.ids ?? [];
    return ids.filter(
      (id) => id !== this.#programs[direction].id && (id === filterId || isFenceProgram(id)),
    );
  }

  #detach(index: number): void {
    removeFence(this.#socket, index);
    this.#guardedLinks.delete(index);
  }

  /** A former agent's fences that ours does not replace would keep the VIPs mute for ever. */
  #takeOver(wanted: ReadonlySet<number>): void {
    for (const index of fencedLinks(this.#socket)) {
      if (!wanted.has(index)) removeFence(this.#socket, index);
    }
    removeNftFence();
    this.#swept = true;
  }
}

/** IPv4 as ::ffff:a.b.c.d. */
function key(address: string): Uint8Array {
  const bytes = defined(parseIp(address), `address ${address}`);
  if (bytes.length === KEY_BYTES) return bytes;
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}
