/**
 * Opens many connections, asks once on each so that it is carried to a backend, and keeps them:
 *
 *     idle-child.ts ADDRESS PORT COUNT      prints `held COUNT`, and ends with its standard input
 */
import { connect } from 'node:net';

const [, , address = '', port = '', count = ''] = process.argv;
const atOnce = 100;
let begun = 0;
let held = 0;

function open(): void {
  if (begun >= Number(count)) return;
  begun++;
  const socket = connect({ host: address, port: Number(port) });
  socket.on('error', (error) => {
    throw error;
  });
  socket.write('GET / HTTP/1.1\r\nhost: idle\r\n\r\n');
  socket.once('data', () => {
    held++;
    if (held === Number(count)) console.log(`held ${held}`);
    open();
  });
}

for (let i = 0; i < atOnce; i++) open();
process.stdin.on('end', () => process.exit(0)).resume();
