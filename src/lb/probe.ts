/**
 * One look at one backend, on a fresh connection each time: what matters is whether the *next*
 * client would be served, and a server that has closed its port still answers on old connections. A
 * fresh TLS handshake costs this host about 1.7 ms of processor time.
 *
 * Certificates are verified only where the spec says against what: before kubeadm there is no CA to
 * trust, and a probe carries no secret.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { connect, type Socket } from 'node:net';
import { unreachable } from '../base/assert.ts';
import type { Clock, Millis } from '../base/clock.ts';
import { describeError, errorCode } from '../base/errors.ts';
import { endpoint } from './data-path.ts';
import type { LateAnswer, ProbeResult } from './health.ts';
import { afterReading } from './patience.ts';
import type { HealthCheck } from './ports.ts';
import { type TrustOptions, type TrustParts, trustReader } from './tls-trust.ts';

export interface ProbeTarget {
  readonly address: string;
  readonly port: number;
}

/** Looks once; never rejects. `signal` gives up early, with whatever result. */
export type Prober = (target: ProbeTarget, signal: AbortSignal) => Promise<ProbeResult>;

export type ProbeParts = TrustParts;

/** An answer's body is read and thrown away up to this size, so that the server may finish it. */
const MAX_BODY_BYTES = 64 * 1024;
/** A server that has not answered in this time is taken for one that never will. */
const PATIENCE_MS: Millis = 30_000;

export function createProber(check: HealthCheck, parts: ProbeParts): Prober {
  switch (check.type) {
    case 'none':
      return () => Promise.resolve({ acceptsTcp: true, healthy: true, reason: 'not checked' });
    case 'tcp':
      return (target, signal) => probeTcp(target, check, parts.clock, signal);
    case 'http':
      return webProber(check, parts.clock, constant(new http.Agent({ keepAlive: false })));
    case 'https':
      return webProber(check, parts.clock, httpsAgents(check, parts));
    default:
      return unreachable(check.type);
  }
}

function webProber(check: HealthCheck, clock: Clock, agent: () => Promise<http.Agent>): Prober {
  return async (target, signal) => {
    try {
      return await probeHttp(target, check, clock, signal, await agent());
    } catch (error) {
      // An unreadable CA file or an impossible path is no reason to refuse clients.
      const { acceptsTcp } = await probeTcp(target, check, clock, signal);
      return { acceptsTcp, healthy: false, reason: `cannot probe: ${describeError(error)}` };
    }
  };
}

/** Agents that verify as asked; one for as long as what they trust stays the same. */
function httpsAgents(check: HealthCheck, parts: ProbeParts): () => Promise<https.Agent> {
  const trust = trustReader(check, parts);
  let known: { readonly agent: https.Agent; readonly options: TrustOptions } | null = null;
  return async () => {
    const options = await trust();
    if (known?.options !== options) known = { agent: httpsAgent(options), options };
    return known.agent;
  };
}

function httpsAgent(options: TrustOptions): https.Agent {
  return new https.Agent({ keepAlive: false, maxCachedSessions: 0, ...options });
}

function constant<T>(value: T): () => Promise<T> {
  const promise = Promise.resolve(value);
  return () => promise;
}

function probeTcp(
  target: ProbeTarget,
  check: HealthCheck,
  clock: Clock,
  signal: AbortSignal,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.address, port: target.port, autoSelectFamily: false });
    const end = (result: ProbeResult): void => {
      timer.cancel();
      signal.removeEventListener('abort', abort);
      socket.destroy();
      resolve(result);
    };
    const fail = (reason: string): void => end({ acceptsTcp: false, healthy: false, reason });
    const abort = (): void => fail('given up');
    const timer = afterReading(clock, check.timeoutMs, () =>
      fail(`timed out after ${check.timeoutMs} ms`),
    );
    signal.addEventListener('abort', abort);
    socket.once('connect', () => end({ acceptsTcp: true, healthy: true, reason: 'connects' }));
    socket.on('error', (error) => fail(connectErrorReason(error)));
  });
}

function probeHttp(
  target: ProbeTarget,
  check: HealthCheck,
  clock: Clock,
  signal: AbortSignal,
  agent: http.Agent,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    let acceptsTcp = false;
    const request = startRequest(target, check, agent);
    const settle = (healthy: boolean, reason: string): void =>
      resolve({ acceptsTcp, healthy, reason });
    const abort = (): void => {
      settle(false, 'given up');
      request.destroy();
    };
    const timer = afterReading(clock, check.timeoutMs, () => {
      if (acceptsTcp) {
        const reason = `connected, but no answer within ${check.timeoutMs} ms`;
        resolve({ acceptsTcp, healthy: false, reason, late: lateAnswer(request, clock) });
        return;
      }
      settle(false, `timed out after ${check.timeoutMs} ms`);
      request.destroy();
    });
    signal.addEventListener('abort', abort);
    request.on('socket', (socket: Socket) => {
      socket.once('connect', () => {
        acceptsTcp = true;
      });
    });
    request.on('response', (response) => {
      const { healthy, reason } = judge(response, check.expectStatus);
      settle(healthy, reason);
      discard(response);
    });
    request.on('error', (error) => {
      settle(false, acceptsTcp ? answerErrorReason(error) : connectErrorReason(error));
    });
    request.on('close', () => {
      timer.cancel();
      signal.removeEventListener('abort', abort);
    });
    request.end();
  });
}

/** An end without an answer is one, too: the next connection will tell more. */
function lateAnswer(request: http.ClientRequest, clock: Clock): LateAnswer {
  const { promise: came, resolve } = Promise.withResolvers<boolean>();
  const timer = afterReading(clock, PATIENCE_MS, () => {
    resolve(false);
    request.destroy();
  });
  const answered = (): void => {
    timer.cancel();
    resolve(true);
  };
  request.on('response', answered);
  request.on('close', answered);
  return { came, giveUp: () => void request.destroy() };
}

function startRequest(
  target: ProbeTarget,
  check: HealthCheck,
  agent: http.Agent,
): http.ClientRequest {
  const options = {
    host: target.address,
    port: target.port,
    path: check.path,
    agent,
    autoSelectFamily: false,
    ...(check.serverName !== null && { servername: check.serverName }),
    headers: {
      host: endpoint(target.address, target.port),
      'user-agent': 'holdfast-probe',
      connection: 'close',
    },
  };
  return check.type === 'https' ? https.request(options) : http.request(options);
}

function judge(
  response: http.IncomingMessage,
  expected: number,
): { readonly healthy: boolean; readonly reason: string } {
  const status = response.statusCode ?? 0;
  const words = `${status} ${response.statusMessage ?? ''}`.trim();
  if (status === expected) return { healthy: true, reason: words };
  // Hardened API servers refuse anonymous probes; that they refuse proves that they serve.
  if (status === 401 || status === 403) return { healthy: true, reason: 'up, anonymous refused' };
  return { healthy: false, reason: status < 400 ? `${words}, not ${expected}` : words };
}

function discard(response: http.IncomingMessage): void {
  let bytes = 0;
  response.on('error', () => undefined);
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) response.destroy();
  });
}

const CONNECT_REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'connect timed out',
};

/** Why a TCP connection was not established, in words; what is no name of an errno stays. */
export function connectReason(name: string): string {
  return CONNECT_REASONS[name] ?? name;
}

function connectErrorReason(error: unknown): string {
  const code = errorCode(error);
  return (code && CONNECT_REASONS[code]) ?? `connect failed: ${describeError(error)}`;
}

function answerErrorReason(error: Error): string {
  const code = errorCode(error) ?? '';
  if (code === 'ECONNRESET') return 'connected, but closed without an answer';
  if (code === 'EPROTO' || code.startsWith('ERR_SSL')) return 'connected, but no TLS is spoken';
  if (code.startsWith('HPE_')) return 'connected, but no HTTP is spoken';
  // Certificate errors (CERT_HAS_EXPIRED, ERR_TLS_CERT_ALTNAME_INVALID, …) explain themselves.
  return `connected, but: ${error.message}`;
}
