/**
 * A netlink socket that asks and waits: each call returns when the kernel has answered, which it
 * does within the call itself, so nothing here can be overtaken by an event. Letting go of an
 * address needs exactly this: "returned" means "acknowledged".
 */
import { assert } from '../base/assert.ts';
import { OperatingError } from '../base/errors.ts';
import {
  check,
  closeFd,
  Errno,
  KernelError,
  lastErrno,
  receive,
  sendTo,
  setSocketOption,
  socket,
} from './libc.ts';
import { decodeMessages, encodeMessage, type NetlinkMessage } from './netlink-message.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;

/** linux/netlink.h */
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_DUMP = 0x300;
/** The listed objects changed while the kernel listed them. */
const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

/** The kernel fills dumps in pages; 32 KiB is what iproute2 offers, too. */
const RECEIVE_BYTES = 32 * 1024;
/** A list that others keep changing is taken as it is after so many attempts. */
const DUMP_ATTEMPTS = 5;
/** Only a bug or a broken kernel leaves a request without an answer for so long. */
const ANSWER_TIMEOUT_SECONDS = 2;

export interface NetlinkRequest {
  readonly type: number;
  /** Beside REQUEST, ACK and DUMP, which are set as needed. */
  readonly flags?: number;
  readonly payload: Uint8Array;
  /** For the error: what a person would call it. */
  readonly what: string;
}

export class NetlinkSocket {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(RECEIVE_BYTES);
  readonly #kernel = Buffer.alloc(12);
  #sequence = 0;

  /** @param protocol NETLINK_ROUTE is 0, NETLINK_NETFILTER 12. */
  constructor(protocol: number) {
    this.#fd = check(socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol), 'open a netlink socket');
    const timeout = Buffer.alloc(16);
    timeout.writeUInt32LE(ANSWER_TIMEOUT_SECONDS, 0);
    check(setSocketOption(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16), 'set a receive timeout');
    this.#kernel.writeUInt16LE(AF_NETLINK, 0);
  }

  /** Does what `request` says; throws {@link KernelError} where the kernel refuses. */
  acknowledge(request: NetlinkRequest): void {
    this.#exchange(request, NLM_F_REQUEST | NLM_F_ACK | (request.flags ?? 0), () => undefined);
  }

  /** The one object that answers `request`; null where the kernel sends none. */
  ask(request: NetlinkRequest): NetlinkMessage | null {
    let answer: NetlinkMessage | null = null;
    const flags = NLM_F_REQUEST | NLM_F_ACK | (request.flags ?? 0);
    this.#exchange(request, flags, (message) => {
      answer = { ...message, payload: Buffer.from(message.payload) };
    });
    return answer;
  }

  /** Every object that the kernel lists for `request`. */
  dump(request: NetlinkRequest): NetlinkMessage[] {
    let messages: NetlinkMessage[] = [];
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      messages = [];
      let torn = false;
      this.#exchange(request, NLM_F_REQUEST | NLM_F_DUMP | (request.flags ?? 0), (message) => {
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) torn = true;
        messages.push({ ...message, payload: Buffer.from(message.payload) });
      });
      if (!torn) break;
    }
    return messages;
  }

  /**
   * As {@link dump}, but with a turn of the event loop after each page: for lists that may be long.
   * What changes meanwhile may be missing or stale. No other call may be made before the end.
   */
  async dumpInTurns(
    request: NetlinkRequest,
    onMessage: (message: NetlinkMessage) => void,
  ): Promise<void> {
    this.#send(request, NLM_F_REQUEST | NLM_F_DUMP | (request.flags ?? 0));
    while (!this.#readPage(request.what, onMessage)) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  close(): void {
    closeFd(this.#fd);
  }

  #exchange(
    request: NetlinkRequest,
    flags: number,
    onMessage: (message: NetlinkMessage) => void,
  ): void {
    this.#send(request, flags);
    while (!this.#readPage(request.what, onMessage));
  }

  #send({ type, payload, what }: NetlinkRequest, flags: number): void {
    this.#sequence = (this.#sequence + 1) >>> 0;
    const bytes = encodeMessage({ type, flags, sequence: this.#sequence }, payload);
    check(sendTo(this.#fd, bytes, bytes.length, 0, this.#kernel, this.#kernel.length), what);
  }

  /** Takes what one datagram holds; whether it was the last of the answer. */
  #readPage(what: string, onMessage: (message: NetlinkMessage) => void): boolean {
    for (const message of decodeMessages(this.#receive(what))) {
      if (message.sequence !== this.#sequence) continue;
      if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
        const errno = message.payload.length >= 4 ? -message.payload.readInt32LE(0) : 0;
        if (errno > 0) throw new KernelError(what, errno);
        return true;
      }
      onMessage(message);
    }
    return false;
  }

  #receive(what: string): Buffer {
    for (;;) {
      const length = receive(this.#fd, this.#buffer, this.#buffer.length, 0);
      if (length >= 0) {
        assert(length <= this.#buffer.length, 'a netlink answer was cut short');
        return this.#buffer.subarray(0, length);
      }
      const errno = lastErrno();
      if (errno === Errno.EINTR) continue;
      if (errno !== Errno.EAGAIN) throw new KernelError(what, errno);
      throw new OperatingError({
        code: 'kernel-silent',
        message: `${what}: no answer from the kernel in ${ANSWER_TIMEOUT_SECONDS} s`,
      });
    }
  }
}
