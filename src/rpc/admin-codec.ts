/**
 * Every operation of the admin service as bytes, in both directions: one table that the servers and
 * the clients share, so that neither can know an operation that the other does not.
 */
import {
  AdminService,
  ApplySpecReply,
  ApplySpecRequest,
  CanStopRequest,
  type Certificate,
  CreateTokenReply,
  CreateTokenRequest,
  Document,
  Empty,
  GetSpecRequest,
  ListCertificatesReply,
  ListTokensReply,
  ObserveRequest,
  PromoteMemberReply,
  PromoteMemberRequest,
  RemoveMemberReply,
  RemoveMemberRequest,
  ReportRequest,
  RevokeTokenRequest,
  SavedSnapshot,
  SetMemberReply,
  SetMemberRequest,
  SignCertificateReply,
  SignCertificateRequest,
  StatusRequest,
  TransferReply,
  TransferRequest,
  Verdict,
  Certificate as WireCertificate,
} from '../../proto/gen/admin.ts';
import { JoinReply, JoinRequest } from '../../proto/gen/join.ts';
import { OperatingError } from '../base/errors.ts';
import type {
  AdmitRequest,
  AdmitResult,
  CertificateInfo,
  Operations,
  SpecDocument,
} from '../cluster/operations.ts';
import type { StatusDocument } from '../cluster/status-document.ts';

export type OperationName = keyof Operations;
export type OperationArgs<K extends OperationName> = Parameters<Operations[K]>;
export type OperationResult<K extends OperationName> = Awaited<ReturnType<Operations[K]>>;

/** One operation on the wire. Reading may throw `bad-request` (what came is no such message). */
export interface WireOperation<Args, Result> {
  readonly path: string;
  readonly writeRequest: (args: Args) => Uint8Array;
  readonly readRequest: (bytes: Uint8Array) => Args;
  readonly writeReply: (result: Result) => Uint8Array;
  readonly readReply: (bytes: Uint8Array) => Result;
}

export type WireOperations = {
  readonly [K in OperationName]: WireOperation<OperationArgs<K>, OperationResult<K>>;
};

/** What the generated code offers for one message type. */
interface Coder<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

function operation<Args, Result, Request, Reply>(init: {
  readonly path: string;
  readonly request: Coder<Request>;
  readonly reply: Coder<Reply>;
  readonly toRequest: (args: Args) => Request;
  readonly fromRequest: (request: Request) => Args;
  readonly toReply: (result: Result) => Reply;
  readonly fromReply: (reply: Reply) => Result;
}): WireOperation<Args, Result> {
  return {
    path: init.path,
    writeRequest: (args) => init.request.encode(init.toRequest(args)).finish(),
    readRequest: (bytes) => read(() => init.fromRequest(init.request.decode(bytes))),
    writeReply: (result) => init.reply.encode(init.toReply(result)).finish(),
    readReply: (bytes) => read(() => init.fromReply(init.reply.decode(bytes))),
  };
}

function read<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw new OperatingError({
      code: 'bad-request',
      message: 'the other side sent what this program cannot read',
      hint: 'see that both run the same version of holdfast',
      cause: error,
    });
  }
}

function toJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function fromJson(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString('utf8'));
}

const nothing = (): Record<string, never> => ({});

const noAnswer = { reply: Empty, toReply: nothing, fromReply: (): void => undefined } as const;

const noArguments = {
  request: Empty,
  toRequest: nothing,
  fromRequest: (): [] => [],
} as const;

export const wireOperations: WireOperations = {
  status: operation({
    path: AdminService.status.path,
    request: StatusRequest,
    reply: Document,
    toRequest: ([options]) => options,
    fromRequest: ({ linearizable }) => [{ linearizable }],
    toReply: (document) => ({ json: toJson(document) }),
    fromReply: ({ json }) => fromJson(json) as StatusDocument,
  }),
  getSpec: operation({
    path: AdminService.getSpec.path,
    request: GetSpecRequest,
    reply: Document,
    toRequest: ([options]) => options,
    fromRequest: ({ local }) => [{ local }],
    toReply: (document) => ({ json: toJson(document) }),
    fromReply: ({ json }) => fromJson(json) as SpecDocument,
  }),
  applySpec: operation({
    path: AdminService.applySpec.path,
    request: ApplySpecRequest,
    reply: ApplySpecReply,
    toRequest: ([{ document, dryRun, yes }]) => ({
      documentJson: toJson(document ?? null),
      dryRun,
      yes,
    }),
    fromRequest: ({ documentJson, dryRun, yes }) => [
      { document: fromJson(documentJson), dryRun, yes },
    ],
    toReply: (result) => ({ ...result, changes: [...result.changes] }),
    fromReply: (reply) => reply,
  }),
  createToken: operation({
    path: AdminService.createToken.path,
    request: CreateTokenRequest,
    reply: CreateTokenReply,
    toRequest: ([request]) => ({
      ...request,
      uses: request.uses ?? undefined,
      token: request.token ?? undefined,
    }),
    fromRequest: ({ ttlMs, uses, description, token }) => [
      { ttlMs, uses: uses ?? null, description, token: token ?? null },
    ],
    toReply: (result) => result,
    fromReply: (reply) => reply,
  }),
  listTokens: operation({
    path: AdminService.listTokens.path,
    ...noArguments,
    reply: ListTokensReply,
    toReply: (tokens) => ({
      tokens: tokens.map((token) => ({ ...token, usesLeft: token.usesLeft ?? undefined })),
    }),
    fromReply: ({ tokens }) =>
      tokens.map((token) => ({ ...token, usesLeft: token.usesLeft ?? null })),
  }),
  revokeToken: operation({
    path: AdminService.revokeToken.path,
    ...noAnswer,
    request: RevokeTokenRequest,
    toRequest: ([id]) => ({ id }),
    fromRequest: ({ id }) => [id],
  }),
  removeMember: operation({
    path: AdminService.removeMember.path,
    request: RemoveMemberRequest,
    reply: RemoveMemberReply,
    toRequest: ([request]) => request,
    fromRequest: ({ name, force }) => [{ name, force }],
    toReply: (result) => result,
    fromReply: (reply) => reply,
  }),
  promoteMember: operation({
    path: AdminService.promoteMember.path,
    request: PromoteMemberRequest,
    reply: PromoteMemberReply,
    toRequest: ([name]) => ({ name }),
    fromRequest: ({ name }) => [name],
    toReply: (result) => ({ ...result, warnings: [...result.warnings] }),
    fromReply: (reply) => reply,
  }),
  setMember: operation({
    path: AdminService.setMember.path,
    request: SetMemberRequest,
    reply: SetMemberReply,
    toRequest: ([request]) => ({
      ...request,
      priority: request.priority ?? undefined,
      address: request.address ?? undefined,
      draining: request.draining ?? undefined,
    }),
    fromRequest: ({ name, priority = null, address = null, draining = null, force }) => [
      { name, priority, address, draining, force },
    ],
    toReply: (result) => result,
    fromReply: (reply) => reply,
  }),
  canStop: operation({
    path: AdminService.canStop.path,
    request: CanStopRequest,
    reply: Verdict,
    toRequest: ([name]) => ({ name: name ?? undefined }),
    fromRequest: ({ name }) => [name ?? null],
    toReply: (verdict) => verdict,
    fromReply: (reply) => reply,
  }),
  transfer: operation({
    path: AdminService.transfer.path,
    request: TransferRequest,
    reply: TransferReply,
    toRequest: ([to]) => ({ to: to ?? undefined }),
    fromRequest: ({ to }) => [to ?? null],
    toReply: (result) => result,
    fromReply: (reply) => reply,
  }),
  listCertificates: operation({
    path: AdminService.listCertificates.path,
    ...noArguments,
    reply: ListCertificatesReply,
    toReply: (certificates) => ({ certificates: certificates.map(toCertificate) }),
    fromReply: ({ certificates }) => certificates.map(fromCertificate),
  }),
  renewCertificate: operation({
    path: AdminService.renewCertificate.path,
    ...noArguments,
    reply: WireCertificate,
    toReply: toCertificate,
    fromReply: fromCertificate,
  }),
  saveSnapshot: operation({
    path: AdminService.saveSnapshot.path,
    ...noArguments,
    reply: SavedSnapshot,
    toReply: (saved) => saved,
    fromReply: (reply) => reply,
  }),
  admit: operation({
    path: AdminService.admit.path,
    request: JoinRequest,
    reply: JoinReply,
    toRequest: ([request]) => toJoinRequest(request),
    fromRequest: (request) => [fromJoinRequest(request)],
    toReply: toJoinReply,
    fromReply: fromJoinReply,
  }),
  report: operation({
    path: AdminService.report.path,
    ...noAnswer,
    request: ReportRequest,
    toRequest: ([report]) => ({ ...report, macs: [...report.macs] }),
    fromRequest: (request) => [request],
  }),
  observe: operation({
    path: AdminService.observe.path,
    ...noAnswer,
    request: ObserveRequest,
    toRequest: ([report]) => ({ ...report, observations: [...report.observations] }),
    fromRequest: (request) => [request],
  }),
  signCertificate: operation({
    path: AdminService.signCertificate.path,
    request: SignCertificateRequest,
    reply: SignCertificateReply,
    toRequest: ([request]) => request,
    fromRequest: ({ nodeId, csr }) => [{ nodeId, csr }],
    toReply: (result) => result,
    fromReply: (reply) => reply,
  }),
};

/** The operation `name` on the wire, typed by its name. */
export function wireOf<K extends OperationName>(
  name: K,
): WireOperation<OperationArgs<K>, OperationResult<K>> {
  return wireOperations[name];
}

export const operationNames = Object.keys(wireOperations) as readonly OperationName[];

/** An object with every operation, each carried out by `perform`. */
export function operationsBy(
  perform: <K extends OperationName>(
    name: K,
    args: OperationArgs<K>,
  ) => Promise<OperationResult<K>>,
): Operations {
  const methods = operationNames.map((name) => [
    name,
    (...args: OperationArgs<typeof name>) => perform(name, args),
  ]);
  // The table above has exactly the keys of Operations: its type says so.
  return Object.fromEntries(methods) as unknown as Operations;
}

function toCertificate(info: CertificateInfo): Certificate {
  return { ...info, expires: info.expires ?? undefined };
}

function fromCertificate(wire: Certificate): CertificateInfo {
  return { ...wire, expires: wire.expires ?? null };
}

export function toJoinRequest(request: AdmitRequest): JoinRequest {
  return { ...request, replace: request.replace ?? undefined };
}

/** @throws OperatingError `bad-request` for a role that is none. */
export function fromJoinRequest(wire: JoinRequest): AdmitRequest {
  const { role } = wire;
  if (role !== 'voter' && role !== 'witness') {
    throw new OperatingError({
      code: 'bad-request',
      message: `a member joins as voter or witness, not as ${JSON.stringify(role.slice(0, 32))}`,
    });
  }
  return { ...wire, role, replace: wire.replace ?? null };
}

export function toJoinReply(result: AdmitResult): JoinReply {
  return {
    ...result,
    caKey: result.caKey ?? undefined,
    vips: result.vips.map(({ address, interface: name }) => ({
      address,
      interface: name ?? undefined,
    })),
    members: [...result.members],
  };
}

export function fromJoinReply(wire: JoinReply): AdmitResult {
  return {
    ...wire,
    caKey: wire.caKey ?? null,
    vips: wire.vips.map(({ address, interface: name }) => ({ address, interface: name ?? null })),
  };
}
