/**
 * Generic netlink (linux/genetlink.h): families that the kernel numbers as their modules are
 * loaded, spoken to by one socket. Only the envelope: what a family's attributes mean is said
 * elsewhere.
 */
import { Errno, unless } from './libc.ts';
import { attribute, cString, decodeAttributes } from './netlink-message.ts';
import { NetlinkSocket } from './netlink-socket.ts';

const NETLINK_GENERIC = 16;
/** struct genlmsghdr: command, version, two bytes reserved. */
const HEADER_BYTES = 4;
/** The family that knows the others. */
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

export interface GenericRequest {
  readonly command: number;
  readonly attributes: readonly Uint8Array[];
  /** For the error: what a person would call it. */
  readonly what: string;
}

export class GenericNetlink {
  readonly #socket: NetlinkSocket;
  readonly #family: number;
  readonly #version: number;

  private constructor(socket: NetlinkSocket, family: number, version: number) {
    this.#socket = socket;
    this.#family = family;
    this.#version = version;
  }

  /** Speaks to the family of this name; null where the kernel has none (its module is absent). */
  static open(name: string, version: number): GenericNetlink | null {
    const socket = new NetlinkSocket(NETLINK_GENERIC);
    try {
      const family = familyId(socket, name);
      if (family !== null) return new GenericNetlink(socket, family, version);
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.close();
    return null;
  }

  /** Does what `request` says; throws a KernelError where the kernel refuses. */
  acknowledge(request: GenericRequest): void {
    this.#socket.acknowledge(this.#enclose(request));
  }

  /** The attributes of the one object that answers `request`; null where the kernel sends none. */
  ask(request: GenericRequest): Buffer | null {
    const answer = this.#socket.ask(this.#enclose(request));
    return answer === null ? null : answer.payload.subarray(HEADER_BYTES);
  }

  /** The attributes of every object that the kernel lists for `request`. */
  dump(request: GenericRequest): Buffer[] {
    const answers = this.#socket.dump(this.#enclose(request));
    return answers.map(({ payload }) => payload.subarray(HEADER_BYTES));
  }

  close(): void {
    this.#socket.close();
  }

  #enclose({ command, attributes, what }: GenericRequest): {
    type: number;
    payload: Buffer;
    what: string;
  } {
    const payload = envelope(command, this.#version, attributes);
    return { type: this.#family, payload, what };
  }
}

function envelope(command: number, version: number, attributes: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Uint8Array.of(command, version, 0, 0), ...attributes]);
}

function familyId(socket: NetlinkSocket, name: string): number | null {
  const payload = envelope(CTRL_CMD_GETFAMILY, 1, [
    attribute(CTRL_ATTR_FAMILY_NAME, cString(name)),
  ]);
  let id: number | null = null;
  unless([Errno.ENOENT], () => {
    const what = `look for the kernel's family ${name}`;
    const answer = socket.ask({ type: GENL_ID_CTRL, payload, what });
    const bytes = decodeAttributes(answer?.payload.subarray(HEADER_BYTES) ?? Buffer.alloc(0));
    id = bytes.get(CTRL_ATTR_FAMILY_ID)?.readUInt16LE(0) ?? null;
  });
  return id;
}
