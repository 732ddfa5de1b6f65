/**
 * Asking a member for admission. The joiner knows one thing of the cluster: the hash of its CA's
 * public key. So before the token leaves this host, the server must show a CA of that hash and a
 * node certificate that this CA signed.
 */
import type { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { Client, type ServiceError } from '@grpc/grpc-js';
import { JoinReply, JoinRequest, JoinService } from '../../proto/gen/join.ts';
import { type Clock, type Millis, sleep } from '../base/clock.ts';
import { OperatingError } from '../base/errors.ts';
import type { AdmitRequest, AdmitResult } from '../cluster/operations.ts';
import { loadCa } from '../pki/ca.ts';
import {
  caHashOf,
  inspectNodeCertificate,
  isSignedBy,
  parseCertificates,
  timeValidity,
} from '../pki/inspect.ts';
import { parseHostPort } from './address.ts';
import { fromJoinReply, toJoinRequest } from './admin-codec.ts';
import { TlsChannelCredentials } from './channel-credentials.ts';
import { channelOptions } from './dial.ts';
import { failureText } from './failure-text.ts';
import { maxAdminBytes } from './limits.ts';
import { callUnary } from './unary.ts';

/** Until the member, or its leader, has answered. */
const answerTimeoutMs: Millis = 15_000;
const connectTimeoutMs: Millis = 3_000;

/** A host that turns strangers away for a moment may let us in the next time. */
const attempts = 3;
const pauseMs: Millis = 700;

export interface AdmissionOptions {
  /** `host:port` of any member. */
  readonly address: string;
  /** `sha256:HEX`. */
  readonly caHash: string;
  readonly clock: Clock;
  readonly request: AdmitRequest;
}

/**
 * Joins by way of `address`. Repeating it with the same key is harmless.
 *
 * @throws OperatingError `bad-ca-hash`, `bad-address`, `peer-unreachable`, `not-holdfast`,
 *   `ca-hash-mismatch`, `certificate-time`, `timeout`, and what the cluster says (`token-…`, …)
 */
export async function requestAdmission(options: AdmissionOptions): Promise<AdmitResult> {
  if (!/^sha256:[0-9a-f]{64}$/.test(options.caHash)) throw badCaHash(options.caHash);
  if (parseHostPort(options.address) === null) throw badAddress(options.address);
  for (let attempt = 1; ; attempt++) {
    try {
      return await requestOnce(options);
    } catch (error) {
      const again = error instanceof OperatingError && error.code === 'peer-unreachable';
      if (!again || attempt === attempts) throw error;
      await sleep(options.clock, pauseMs);
    }
  }
}

async function requestOnce(options: AdmissionOptions): Promise<AdmitResult> {
  const { address, caHash, clock } = options;
  const at = parseHostPort(address) ?? { host: '', port: 0 };
  const credentials = new TlsChannelCredentials({
    // Only what the peer shows counts, and nothing of it is in the system's store.
    context: () => createSecureContext({ ca: [], minVersion: 'TLSv1.3' }),
    preflight: { at, timeoutMs: connectTimeoutMs, clock },
    judge: (chain) => judgeMember(chain, caHash, clock.wallNow()),
  });
  const client = new Client(`dns:${address}`, credentials, {
    ...channelOptions,
    'grpc.max_receive_message_length': maxAdminBytes,
  });
  try {
    const reply = await callUnary({
      client,
      path: JoinService.join.path,
      request: JoinRequest.encode(toJoinRequest(options.request)).finish(),
      clock,
      timeoutMs: answerTimeoutMs,
      explain: (error) => explain(error, address),
    });
    return checkReply(fromJoinReply(JoinReply.decode(reply)), caHash);
  } catch (error) {
    const { refusal } = credentials;
    throw refusal ?? error;
  } finally {
    client.close();
    credentials.abandon();
  }
}

function judgeMember(
  chain: readonly X509Certificate[],
  caHash: string,
  wallNowMs: Millis,
): OperatingError | null {
  const [leaf, ...issuers] = chain;
  const node = leaf === undefined ? null : inspectNodeCertificate(leaf);
  if (leaf === undefined || node === null) return notHoldfast();
  const shown = issuers.map(caHashOf);
  const ca = issuers.find((issuer) => caHashOf(issuer) === caHash);
  if (ca === undefined) return hashMismatch(caHash, shown[0] ?? null);
  if (!isSignedBy(leaf, ca)) return hashMismatch(caHash, null);
  const time = timeValidity(node, wallNowMs);
  if (time === 'valid') return null;
  return new OperatingError({
    code: 'certificate-time',
    message:
      `the member's certificate is valid from ${new Date(node.notBeforeMs).toISOString()} to ` +
      `${new Date(node.notAfterMs).toISOString()}, and here it is ` +
      new Date(wallNowMs).toISOString(),
    hint: 'set the clocks of both hosts, then join again',
    facts: { time },
  });
}

/** The answer came from the right cluster; this guards against a broken one, not a hostile one. */
function checkReply(result: AdmitResult, caHash: string): AdmitResult {
  const ca = loadCa({ certificate: result.caCertificate, key: result.caKey, wallNowMs: null });
  const [leaf] = parseCertificates(result.certificate) ?? [];
  const node = leaf === undefined ? null : inspectNodeCertificate(leaf);
  const fits =
    ca.hash === caHash &&
    leaf !== undefined &&
    ca.authorities.some((authority) => isSignedBy(leaf, authority)) &&
    node?.nodeId === result.nodeId &&
    node.clusterId === result.clusterId;
  if (fits) return result;
  throw new OperatingError({
    code: 'bad-answer',
    message: 'the cluster answered with a certificate that does not fit its own CA or our id',
    hint: 'see the log of the leader',
  });
}

function explain(error: ServiceError, address: string): OperatingError {
  return new OperatingError({
    code: 'peer-unreachable',
    message: `no member answers at ${address} (${failureText(error.details)})`,
    hint: 'see that the agent runs there, and that this host may reach that port',
    facts: { address },
    cause: error,
  });
}

function hashMismatch(expected: string, shown: string | null): OperatingError {
  return new OperatingError({
    code: 'ca-hash-mismatch',
    message:
      `the cluster's CA is not the one expected: --ca-hash says ${expected}, ` +
      `the member shows ${shown ?? 'none that signed its certificate'}`,
    hint: 'use the hash that `holdfast token create --print-join-command` prints on a member',
    facts: { expected, shown },
  });
}

function notHoldfast(): OperatingError {
  return new OperatingError({
    code: 'not-holdfast',
    message: 'who answers there is no member of a Holdfast cluster',
    hint: 'give the address and gRPC port of a member (7443 unless it was changed)',
  });
}

function badCaHash(given: string): OperatingError {
  return new OperatingError({
    code: 'bad-ca-hash',
    message: `${JSON.stringify(given.slice(0, 100))} is no CA hash (sha256: and 64 hex digits)`,
    hint: 'use the one that `holdfast token create --print-join-command` prints on a member',
  });
}

function badAddress(given: string): OperatingError {
  return new OperatingError({
    code: 'bad-address',
    message: `${JSON.stringify(given.slice(0, 100))} is no host:port`,
  });
}
