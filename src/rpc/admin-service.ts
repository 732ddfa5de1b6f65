/**
 * The admin service for one kind of caller. Who calls was settled by the connection (a member's
 * certificate, a local process's user); here it is decided what that caller may ask.
 */
import type {
  ServerUnaryCall,
  ServiceDefinition,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { OperatingError } from '../base/errors.ts';
import {
  type OperationArgs,
  type OperationName,
  operationNames,
  wireOf,
  wireOperations,
} from './admin-codec.ts';
import type { Forwarder } from './forwarder.ts';
import type { OfferedService } from './member-servers.ts';
import { toStatus } from './operating-errors.ts';
import { sameBytes } from './raft-service.ts';
import { forwardedKey } from './unary.ts';

export type Caller =
  | { readonly kind: 'local'; readonly readOnly: boolean }
  /** A local user whom neither root nor the group vouches for. */
  | { readonly kind: 'stranger' }
  | { readonly kind: 'member'; readonly nodeId: string; readonly isMember: () => boolean };

const readOperations: ReadonlySet<OperationName> = new Set<OperationName>([
  'status',
  'getSpec',
  'listTokens',
  'listCertificates',
  'canStop',
]);

/** Between members; an operator has `join`, and no business with the others. */
const memberOperations: ReadonlySet<OperationName> = new Set<OperationName>([
  'admit',
  'report',
  'observe',
  'signCertificate',
]);

/** The service as bytes, so that a request that cannot be read gets an answer that says so. */
const definition: ServiceDefinition = Object.fromEntries(
  operationNames.map((name) => [
    name,
    {
      path: wireOperations[name].path,
      requestStream: false,
      responseStream: false,
      requestSerialize: sameBytes,
      requestDeserialize: (bytes: Buffer): Uint8Array => bytes,
      responseSerialize: sameBytes,
      responseDeserialize: (bytes: Buffer): Uint8Array => bytes,
    },
  ]),
);

export function adminService(forwarder: Forwarder, caller: Caller): OfferedService {
  const implementation: UntypedServiceImplementation = Object.fromEntries(
    operationNames.map((name) => [
      name,
      (call: ServerUnaryCall<Uint8Array, Uint8Array>, done: sendUnaryData<Uint8Array>) => {
        answer(forwarder, caller, name, call).then(
          (reply) => done(null, reply),
          (error: unknown) => done(toStatus(error)),
        );
      },
    ]),
  );
  return { definition, implementation };
}

async function answer<K extends OperationName>(
  forwarder: Forwarder,
  caller: Caller,
  name: K,
  call: ServerUnaryCall<Uint8Array, Uint8Array>,
): Promise<Uint8Array> {
  const wire = wireOf(name);
  refuseOperation(caller, name);
  const args = wire.readRequest(call.request);
  refuseSubject(caller, args);
  const mayForward = call.metadata.get(forwardedKey).length === 0;
  return wire.writeReply(await forwarder.perform(name, args, mayForward));
}

function refuseOperation(caller: Caller, name: OperationName): void {
  switch (caller.kind) {
    case 'stranger':
      throw denied('you may not talk to the agent', 'run this as root');
    case 'local':
      if (memberOperations.has(name)) throw denied('only members may ask this of each other');
      if (caller.readOnly && !readOperations.has(name)) {
        throw denied('the group holdfast may read, not change', 'run this as root');
      }
      return;
    case 'member':
      if (!caller.isMember()) throw denied('this node is not a member of the cluster');
      return;
    default:
      caller satisfies never;
  }
}

/** A member speaks for itself: its report and its certificate are not another's to send. */
function refuseSubject(caller: Caller, args: OperationArgs<OperationName>): void {
  if (caller.kind !== 'member') return;
  const [first] = args;
  if (typeof first !== 'object' || first === null || !('nodeId' in first)) return;
  if (first.nodeId !== caller.nodeId) throw denied('a member may only speak for itself');
}

function denied(message: string, hint?: string): OperatingError {
  return new OperatingError({
    code: 'permission-denied',
    message,
    ...(hint === undefined ? {} : { hint }),
  });
}
