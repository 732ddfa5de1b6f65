/**
 * The kernel's virtual servers, as far as they are ours: services that are chosen by a mark of our
 * range. Those that somebody else made, by address or by any other mark, are neither seen nor
 * touched.
 */
import { assert } from '../base/assert.ts';
import { GenericNetlink } from './genetlink.ts';
import {
  Command,
  decodeDest,
  decodeService,
  decodeTcpTimeout,
  encodeDest,
  encodeDestKey,
  encodeService,
  encodeServiceKey,
  encodeTcpTimeout,
  IPVS_FAMILY,
  IPVS_VERSION,
  type IpvsDest,
  type IpvsDestKey,
  type IpvsDestRow,
  type IpvsService,
  type IpvsServiceKey,
} from './ipvs-codec.ts';
import { Errno, unless } from './libc.ts';

/** "hf" in the upper half; the lower half counts. Nobody else is known to use such marks. */
const FIRST_MARK = 0x6866_0001;
const LAST_MARK = 0x6866_ffff;

const isOurs = (mark: number): boolean => mark >= FIRST_MARK && mark <= LAST_MARK;

export class VirtualServers {
  readonly #netlink: GenericNetlink;

  private constructor(netlink: GenericNetlink) {
    this.#netlink = netlink;
  }

  /** Null where the kernel has no IPVS now. */
  static open(): VirtualServers | null {
    const netlink = GenericNetlink.open(IPVS_FAMILY, IPVS_VERSION);
    return netlink === null ? null : new VirtualServers(netlink);
  }

  services(): IpvsService[] {
    return this.#netlink
      .dump({ command: Command.getService, attributes: [], what: 'list virtual servers' })
      .map(decodeService)
      .filter((service) => service !== null)
      .filter(({ mark }) => isOurs(mark));
  }

  destinations(service: IpvsServiceKey): IpvsDestRow[] {
    return this.#netlink
      .dump({
        command: Command.getDest,
        attributes: [encodeServiceKey(service)],
        what: `list the destinations of ${nameOf(service)}`,
      })
      .map((bytes) => decodeDest(bytes, service.family))
      .filter((row) => row !== null);
  }

  addService(service: IpvsService): void {
    this.#service(Command.newService, service, 'make');
  }

  changeService(service: IpvsService): void {
    this.#service(Command.setService, service, 'change');
  }

  /** Its connections go on only as long as their destinations are served by another service. */
  removeService(service: IpvsServiceKey): void {
    assert(isOurs(service.mark), 'a service of somebody else is never removed');
    unless([Errno.ESRCH], () =>
      this.#netlink.acknowledge({
        command: Command.delService,
        attributes: [encodeServiceKey(service)],
        what: `remove ${nameOf(service)}`,
      }),
    );
  }

  addDestination(service: IpvsServiceKey, dest: IpvsDest): void {
    this.#destination(Command.newDest, service, encodeDest(dest), `add ${dest.address} to`);
  }

  changeDestination(service: IpvsServiceKey, dest: IpvsDest): void {
    this.#destination(Command.setDest, service, encodeDest(dest), `change ${dest.address} of`);
  }

  removeDestination(service: IpvsServiceKey, dest: IpvsDestKey): void {
    const what = `remove ${dest.address} from`;
    unless([Errno.ENOENT, Errno.ESRCH], () =>
      this.#destination(Command.delDest, service, encodeDestKey(dest), what),
    );
  }

  /** Lets idle TCP connections live for so long at least, those of others in this namespace too. */
  keepIdleTcp(seconds: number): void {
    const answer = this.#netlink.ask({
      command: Command.getConfig,
      attributes: [],
      what: 'read the time-outs of virtual servers',
    });
    const present = answer === null ? null : decodeTcpTimeout(answer);
    if (present !== null && present >= seconds) return;
    this.#netlink.acknowledge({
      command: Command.setConfig,
      attributes: encodeTcpTimeout(seconds),
      what: 'set the time-out of idle connections of virtual servers',
    });
  }

  close(): void {
    this.#netlink.close();
  }

  #service(command: number, service: IpvsService, verb: string): void {
    assert(isOurs(service.mark), 'services of ours bear marks of ours');
    this.#netlink.acknowledge({
      command,
      attributes: [encodeService(service)],
      what: `${verb} ${nameOf(service)} with the scheduler ${service.scheduler}`,
    });
  }

  #destination(command: number, service: IpvsServiceKey, dest: Buffer, verb: string): void {
    assert(isOurs(service.mark), 'destinations are given to services of ours alone');
    this.#netlink.acknowledge({
      command,
      attributes: [encodeServiceKey(service), dest],
      what: `${verb} ${nameOf(service)}`,
    });
  }
}

/**
 * The mark after `last` that is not among `taken`. A mark that was just given up comes last: the
 * kernel would give a new destination the connections of the old one of the same mark.
 */
export function nextMark(last: number | null, taken: ReadonlySet<number>): number {
  let mark = last ?? LAST_MARK;
  do {
    mark = mark >= LAST_MARK ? FIRST_MARK : mark + 1;
    assert(mark !== last, 'there are more marks than virtual servers');
  } while (taken.has(mark));
  return mark;
}

const nameOf = ({ family, mark }: IpvsServiceKey): string =>
  `the IPv${family} virtual server of mark 0x${mark.toString(16)}`;
