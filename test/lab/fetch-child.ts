/**
 * Asks each once, from inside a host where the test itself is not, and prints the outcomes as JSON.
 *
 *     fetch-child.ts URL…
 *     http://127.0.0.1:7444/readyz     GET; certificates are not verified
 *     line://10.77.0.100:6443/whoami   one line of the stand-in's own protocol
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { monotonicMs } from './clock.ts';
import type { Fetched } from './host.ts';

const patienceMs = 5_000;

type Answer = Pick<Fetched, 'status' | 'body' | 'error'>;

function failed(error: NodeJS.ErrnoException): Answer {
  return { status: 0, body: '', error: error.code ?? error.message };
}

function get(url: URL): Promise<Answer> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve) => {
    const asked = request(url, { rejectUnauthorized: false, timeout: patienceMs }, (response) => {
      const parts: string[] = [];
      response.setEncoding('utf8').on('data', (part: string) => parts.push(part));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: parts.join(''), error: null }),
      );
    });
    asked.on('timeout', () => asked.destroy(new Error('timeout')));
    asked.on('error', (error) => resolve(failed(error)));
    asked.end();
  });
}

function converse(url: URL): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) });
    let body = '';
    socket.setTimeout(patienceMs, () => socket.destroy(new Error('timeout')));
    socket.on('connect', () => socket.write(`${url.pathname.slice(1)}\n`));
    socket.on('data', (chunk) => {
      body += chunk.toString();
    });
    socket.on('end', () => resolve({ status: 200, body, error: null }));
    socket.on('error', (error) => resolve(failed(error)));
  });
}

async function ask(text: string): Promise<Fetched> {
  const url = new URL(text);
  const began = monotonicMs();
  const answer = await (url.protocol === 'line:' ? converse(url) : get(url));
  return { ...answer, tookMs: monotonicMs() - began };
}

console.log(JSON.stringify(await Promise.all(process.argv.slice(2).map(ask))));
process.exit(0);
