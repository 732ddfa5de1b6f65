/** Addresses and failure texts: what people write and read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHostPort } from '../../../src/rpc/address.ts';
import { failureText } from '../../../src/rpc/failure-text.ts';

test('parseHostPort() takes names, IPv4 and bracketed IPv6, and nothing else', () => {
  const bad = ['', 'host', 'host:', ':1', 'host:0', 'host:65536', 'fd00::1:7443', '[::1]', 'a/b:1'];

  assert.deepEqual(parseHostPort('10.0.0.1:7443'), { host: '10.0.0.1', port: 7443 });
  assert.deepEqual(parseHostPort('node-1.example:1'), { host: 'node-1.example', port: 1 });
  assert.deepEqual(parseHostPort('[fd00::1]:65535'), { host: 'fd00::1', port: 65_535 });
  assert.deepEqual(
    bad.filter((text) => parseHostPort(text) !== null),
    [],
  );
});

test('failureText() keeps the cause and drops the frame around it', () => {
  const at = 'connect ECONNREFUSED 10.0.0.2:7443';
  const time = '(2026-01-01T00:00:00.000Z)';

  assert.equal(
    failureText(`14 UNAVAILABLE: No connection established. Last error: ${at} ${time}`),
    at,
  );
  assert.equal(failureText(`No connection established. Last error: Error: ${at}`), at);
  assert.equal(failureText('foreign-ca'), 'foreign-ca');
  assert.equal(failureText('x'.repeat(500)).length, 120);
});
