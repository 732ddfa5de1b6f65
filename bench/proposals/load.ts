/**
 * Clients of the proposals bench, in a process of their own: each puts a value, waits for the
 * answer and puts the next. Speaks gRPC straight over HTTP/2, because a library would need as much
 * of the processor as what is measured.
 *
 * One message in, one out, any number of times: a {@link Load}, then its {@link LoadResult}.
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import { quantile } from '../../test/lab/gaps.ts';

export interface Load {
  readonly port: number;
  readonly clients: number;
  readonly durationMs: number;
  /** Letters in each value; the key has {@link keyBytes}. */
  readonly valueBytes: number;
  /** Goes on after a put that failed, a moment later; else such a put ends the process. */
  readonly patient?: boolean;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const keyBytes = 12;
/** Streams on one connection. */
const clientsPerConnection = 16;
const retryMs = 100;

/** PutRequest { bytes key = 1; bytes value = 2; } behind gRPC's five bytes of framing. */
function putRequest(number: number, valueBytes: number): Buffer {
  const key = Buffer.from(String(number).padStart(keyBytes, 'k'));
  const value = Buffer.from(number.toString(36).padStart(valueBytes, 'v'));
  const body = Buffer.concat([field(1, key), field(2, value)]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(body.length, 1);
  return Buffer.concat([frame, body]);
}

/** A field of bytes; lengths of up to two varint bytes are enough here. */
function field(tag: number, bytes: Buffer): Buffer {
  const { length } = bytes;
  const varint = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Buffer.concat([Buffer.from([(tag << 3) | 2, ...varint]), bytes]);
}

const headers = {
  ':method': 'POST',
  ':path': '/etcdserverpb.KV/Put',
  'content-type': 'application/grpc',
  te: 'trailers',
};

function put(session: ClientHttp2Session, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers);
    let grpcStatus: unknown;
    let why: unknown;
    const note = (fields: Record<string, unknown>): void => {
      grpcStatus ??= fields['grpc-status'];
      why ??= fields['grpc-message'];
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', () => undefined);
    stream.on('error', reject);
    stream.on('end', () => {
      if (grpcStatus === '0') resolve();
      else reject(new Error(`put failed: ${grpcStatus} ${why}`));
    });
    stream.end(request);
  });
}

let puts = 0;

async function run({
  port,
  clients,
  durationMs,
  valueBytes,
  patient = false,
}: Load): Promise<LoadResult> {
  const sessions = Array.from({ length: Math.ceil(clients / clientsPerConnection) }, () =>
    connect(`http://127.0.0.1:${port}`),
  );
  // What a broken connection means is told by each of its streams.
  for (const session of sessions) session.on('error', () => undefined);
  const latencies: number[] = [];
  const began = performance.now();
  const client = async (session: ClientHttp2Session): Promise<void> => {
    while (performance.now() - began < durationMs) {
      const sentAt = performance.now();
      try {
        await put(session, putRequest(puts++, valueBytes));
      } catch (error) {
        if (!patient) throw error;
        await new Promise((resolve) => setTimeout(resolve, retryMs));
        continue;
      }
      latencies.push(performance.now() - sentAt);
    }
  };
  await Promise.all(
    Array.from({ length: clients }, (_, at) => {
      const session = sessions[at % sessions.length];
      return session === undefined ? Promise.resolve() : client(session);
    }),
  );
  const seconds = (performance.now() - began) / 1_000;
  for (const session of sessions) session.close();
  return {
    perSecond: latencies.length / seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

process.on('message', (load) => {
  run(load as Load).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      throw error;
    },
  );
});
