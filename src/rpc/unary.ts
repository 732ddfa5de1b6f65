/** One question and one answer over gRPC, as bytes, within a time limit on our own clock. */
import { type Client, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import type { Clock, Millis } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import { fromStatus } from './operating-errors.ts';
import { sameBytes } from './raft-service.ts';

/** Put on a request that was already forwarded once: whoever gets it forwards it no more. */
export const forwardedKey = 'holdfast-forwarded';

export interface UnaryCall {
  readonly client: Client;
  readonly path: string;
  readonly request: Uint8Array;
  readonly clock: Clock;
  readonly timeoutMs: Millis;
  readonly forwarded?: boolean;
  /** Turns what gRPC says into what a person understands. */
  readonly explain: (error: ServiceError) => OperatingError;
}

/** @throws OperatingError the other side's, or `explain`'s, or `timeout` */
export function callUnary(options: UnaryCall): Promise<Uint8Array> {
  const metadata = new Metadata();
  if (options.forwarded === true) metadata.set(forwardedKey, '1');
  return new Promise((resolve, reject) => {
    let late = false;
    const call = options.client.makeUnaryRequest(
      options.path,
      sameBytes,
      (bytes: Buffer): Uint8Array => bytes,
      options.request,
      metadata,
      (error, reply) => {
        timer.cancel();
        if (error === null && reply !== undefined) resolve(reply);
        else if (late) reject(tooLate(options));
        else reject(error === null ? noReply() : explain(error, options.explain));
      },
    );
    const timer = options.clock.after(options.timeoutMs, () => {
      late = true;
      call.cancel();
    });
  });
}

function explain(
  error: ServiceError,
  otherwise: (error: ServiceError) => OperatingError,
): OperatingError {
  const theirs = fromStatus(error);
  if (theirs !== null) return theirs;
  if (error.code === status.UNIMPLEMENTED) {
    return new OperatingError({
      code: 'not-supported',
      message: 'the node asked does not know this request: it runs an older version',
      hint: 'upgrade holdfast there',
      cause: error,
    });
  }
  if (error.code === status.RESOURCE_EXHAUSTED) {
    return new OperatingError({
      code: 'too-large',
      message: `the request or its answer is too large (${error.details})`,
      cause: error,
    });
  }
  return otherwise(error);
}

function tooLate(options: UnaryCall): OperatingError {
  return new OperatingError({
    code: 'timeout',
    message: `no answer within ${options.timeoutMs} ms; whether it was done is unknown`,
    hint: 'see `holdfast status`, then try again',
    facts: { timeoutMs: options.timeoutMs },
  });
}

function noReply(): OperatingError {
  return new OperatingError({ code: 'internal', message: 'the answer was empty' });
}
