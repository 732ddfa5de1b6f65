/**
 * A backend of the lab that says who it is, by TCP, UDP and HTTP:
 *
 *     TCP, UDP    answers `line` with `name line`; an end with `name bye` and an end
 *     HTTP        answers with `name`, the path and what was forwarded; upgrades answer like TCP
 */
import * as dgram from 'node:dgram';
import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { serveStation, stationConfig } from './station-child.ts';

export interface EchoServerConfig {
  readonly name: string;
  /** Of TCP and UDP. */
  readonly port: number;
  readonly httpPort: number;
}

const { name, port, httpPort } = stationConfig<EchoServerConfig>();

function converse(socket: net.Socket): void {
  socket.on('data', (bytes) => socket.write(String(bytes).replace(/^(.+)$/gm, `${name} $1`)));
  socket.on('end', () => socket.end(`${name} bye\n`));
  socket.on('error', () => undefined);
}

const tcp = net.createServer({ allowHalfOpen: true }, converse).listen(port, '::');
const web = http.createServer(({ url, headers }, response) => {
  const told = ['x-forwarded-for', 'x-forwarded-proto'].map((header) => headers[header]);
  response.end([name, url, ...told].join(' '));
});
web.on('upgrade', (request, socket) => {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: ${request.headers.upgrade}\r\n`);
  socket.write('connection: Upgrade\r\n\r\n');
  converse(socket as net.Socket);
});
web.listen(httpPort, '::');
const udp = dgram.createSocket('udp6');
udp.on('message', (bytes, from) => udp.send(`${name} ${bytes}`, from.port, from.address));
udp.bind(port, '::');
await Promise.all([tcp, web, udp].map((each) => once(each, 'listening')));
serveStation({});
