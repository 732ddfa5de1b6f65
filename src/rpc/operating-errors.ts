/**
 * Operating errors across the wire: code, message, hint and facts arrive as they were thrown, in
 * one trailer of JSON; the gRPC status beside it is for other people's tools. What is no operating
 * error is a bug on the other side and arrives as `internal`.
 */
import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js';
import { describeError, OperatingError } from '../base/errors.ts';
import { maxErrorBytes } from './limits.ts';

const errorKey = 'holdfast-error-bin';
const maxDetailsChars = 512;

/** For the callback of a gRPC handler. */
export function toStatus(error: unknown): Partial<StatusObject> {
  const { code, message, hint, facts } = asOperating(error);
  const metadata = new Metadata();
  metadata.set(errorKey, pack({ code, message, hint, facts }));
  return { code: statusOf(code), details: message.slice(0, maxDetailsChars), metadata };
}

/** The operating error that a call ended with; null where the server said nothing of the kind. */
export function fromStatus(error: ServiceError): OperatingError | null {
  const [bytes] = error.metadata?.get(errorKey) ?? [];
  if (!Buffer.isBuffer(bytes)) return null;
  const parsed = parse(bytes);
  if (parsed === null) return null;
  const { code, message, hint, facts } = parsed;
  if (typeof code !== 'string' || typeof message !== 'string') return null;
  return new OperatingError({
    code,
    message,
    ...(typeof hint === 'string' ? { hint } : {}),
    ...(typeof facts === 'object' && facts !== null && !Array.isArray(facts)
      ? { facts: facts as Record<string, unknown> }
      : {}),
  });
}

function asOperating(error: unknown): OperatingError {
  if (error instanceof OperatingError) return error;
  return new OperatingError({
    code: 'internal',
    message: `the agent failed at this: ${describeError(error)}`,
    hint: 'see its log (journalctl -u holdfast)',
  });
}

function statusOf(code: string): status {
  if (code === 'permission-denied') return status.PERMISSION_DENIED;
  return code === 'internal' ? status.INTERNAL : status.FAILED_PRECONDITION;
}

/** As much of the error as a trailer carries: facts go first, then the end of the message. */
function pack(error: {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, unknown>>;
}): Buffer {
  const whole = Buffer.from(JSON.stringify(error));
  if (whole.length <= maxErrorBytes) return whole;
  const bare = Buffer.from(JSON.stringify({ ...error, facts: {} }));
  if (bare.length <= maxErrorBytes) return bare;
  const message = `${error.message.slice(0, maxDetailsChars)}…`;
  const hint = error.hint?.slice(0, maxDetailsChars);
  return Buffer.from(JSON.stringify({ code: error.code, message, hint }));
}

function parse(bytes: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
