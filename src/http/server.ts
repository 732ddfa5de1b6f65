/**
 * The HTTP port: /livez, /readyz, /metrics and a page that points to them. Read-only, loopback
 * unless told otherwise, and small in every respect, because it runs in the process that holds the
 * lease: a flood of requests must not keep a heartbeat waiting.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { InvariantViolation } from '../base/assert.ts';
import { describeError, errorCode, OperatingError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { HttpFacts } from './facts.ts';
import { type HealthReport, healthText } from './health.ts';
import { MetricsPage } from './metrics.ts';
import { pageHtml } from './page.ts';

export interface HttpServerParts {
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  readonly log: Logger;
  readonly facts: () => HttpFacts;
  readonly livez: () => HealthReport;
  readonly readyz: () => HealthReport;
}

/** Connections beyond these are dropped: some scrapers, some probes, a person. */
const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 8 * 1024;
/** A request's header must be complete after this time, and so must its answer. */
const REQUEST_TIMEOUT_MS = 5_000;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const TEXT = 'text/plain; charset=utf-8';

export class HttpServer {
  readonly #parts: HttpServerParts;
  readonly #metrics = new MetricsPage();
  readonly #server: Server;
  /** The scrape under way, shared by all who ask meanwhile. */
  #scrape: Promise<string> | null = null;

  constructor(parts: HttpServerParts) {
    this.#parts = parts;
    const limits = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
    };
    this.#server = createServer(limits, (request, response) => void this.#serve(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens; resolves to the port. Rejects with `port-in-use` or `cannot-listen`. */
  start(): Promise<number> {
    const { host, port } = this.#parts;
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => reject(listenError(error, host, port)));
      this.#server.listen({ host, port }, () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', (error) =>
          this.#parts.log.warn('http.failed', { reason: error.message }),
        );
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Stops at once; requests under way are cut off. */
  stop(): Promise<void> {
    this.#metrics.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A body is never wanted; reading it away keeps the connection in step.
    request.resume();
    const answer = await this.#answer(request).catch((error: unknown): Answer => {
      if (error instanceof InvariantViolation) throw error;
      this.#parts.log.error('http.failed', { url: request.url, reason: describeError(error) });
      return { status: 500, type: TEXT, body: 'internal error\n' };
    });
    response.writeHead(answer.status, {
      'content-type': answer.type,
      'content-length': Buffer.byteLength(answer.body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...answer.headers,
    });
    response.end(request.method === 'HEAD' ? undefined : answer.body);
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const [path, query = ''] = (request.url ?? '/').split('?', 2);
    const route = this.#route(path ?? '/', new URLSearchParams(query));
    if (route === null) return { status: 404, type: TEXT, body: 'not found\n' };
    if (request.method === 'GET' || request.method === 'HEAD') return route();
    const body = 'only GET and HEAD\n';
    return { status: 405, type: TEXT, body, headers: { allow: 'GET, HEAD' } };
  }

  #route(path: string, query: URLSearchParams): (() => Answer | Promise<Answer>) | null {
    const verbose = query.has('verbose');
    switch (path) {
      case '/livez':
        return () => healthAnswer('livez', this.#parts.livez(), verbose);
      case '/readyz':
        return () => healthAnswer('readyz', this.#parts.readyz(), verbose);
      case '/metrics':
        return () => this.#metricsAnswer();
      case '/':
        return () => this.#pageAnswer();
      default:
        return null;
    }
  }

  async #metricsAnswer(): Promise<Answer> {
    this.#scrape ??= this.#metrics.render(this.#parts.facts()).finally(() => {
      this.#scrape = null;
    });
    return { status: 200, type: this.#metrics.contentType, body: await this.#scrape };
  }

  #pageAnswer(): Answer {
    const body = pageHtml(this.#parts.facts(), this.#parts.readyz());
    const headers = { 'content-security-policy': "default-src 'none'; frame-ancestors 'none'" };
    return { status: 200, type: 'text/html; charset=utf-8', body, headers };
  }
}

function healthAnswer(endpoint: string, report: HealthReport, verbose: boolean): Answer {
  const body = healthText(endpoint, report, verbose);
  return { status: report.ok ? 200 : 500, type: TEXT, body };
}

function listenError(error: Error, host: string, port: number): OperatingError {
  const inUse = errorCode(error) === 'EADDRINUSE';
  return new OperatingError({
    code: inUse ? 'port-in-use' : 'cannot-listen',
    message: `cannot serve HTTP on ${host} port ${port}: ${inUse ? 'in use' : error.message}`,
    hint: 'choose another address with --http-listen HOST:PORT',
    facts: { host, port },
    cause: error,
  });
}
