/** The page of three in the morning, as golden text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headline, statusText } from '../../../src/cli/status-text.ts';
import type { StatusDocument } from '../../../src/cluster/status-document.ts';
import { healthy, offline, wallNowMs, withoutHolder } from './documents.ts';

const headlines: readonly [what: string, document: StatusDocument, line: string][] = [
  [
    'a healthy cluster',
    healthy,
    'HEALTHY: 10.0.0.100 is served by n1 (this host) since 2026-01-01 00:00:00Z, for 3h 12m ' +
      '(leader with lease); it survives 1 more failure; nothing to do',
  ],
  [
    'a lost quorum, with what to do about it',
    withoutHolder,
    'DOWN: 10.0.0.100 is NOT served (no quorum); ' +
      'The quorum is lost: start the agents on n2 and n3',
  ],
  [
    'an agent that is down',
    offline,
    'UNKNOWN: 10.0.0.100 is not known to be served (the agent is not running here); ' +
      'The agent is not running on this host: systemctl start holdfast',
  ],
  [
    'a cluster without a VIP',
    { ...healthy, vips: [] },
    'HEALTHY: no VIP is configured; it survives 1 more failure; nothing to do',
  ],
  [
    'a holder elsewhere, and no failure left',
    {
      ...healthy,
      verdict: 'degraded',
      self: { ...healthy.self, name: 'n2' },
      cluster: { ...healthy.cluster, failuresLeft: 0 },
    },
    'DEGRADED: 10.0.0.100 is served by n1 since 2026-01-01 00:00:00Z, for 3h 12m ' +
      '(leader with lease); it survives no further failure',
  ],
];

for (const [what, document, line] of headlines) {
  test(`headline() answers the question for ${what}`, () => {
    assert.equal(headline(document, wallNowMs), line);
  });
}

test('statusText() shows the whole view under its first line', () => {
  const [, ...rest] = statusText(healthy, wallNowMs).split('\n');

  assert.equal(
    rest.join('\n'),
    `
cluster prod · leader n1 · term 3 · revision 12 · n1 is leader · timing balanced · \
fences ebpf, lifetime · view local, 12ms old

MEMBER  ADDRESS         ROLE   REACHABLE  LAST CONTACT  VERSION  CERTIFICATE UNTIL
n1      10.0.0.11:7443  voter  yes        0ms           0.1.0    2027-01-01 00:00:00Z
n2      10.0.0.12:7443  voter  yes        21ms          0.1.0    2027-01-01 00:00:00Z
n3      10.0.0.13:7443  voter  yes        21ms          0.1.0    2027-01-01 00:00:00Z

VIP         INTERFACE      HOLDER  SINCE                 REACHED BY  WHY
10.0.0.100  eth0 (subnet)  n1      2026-01-01 00:00:00Z  n2, n3      leader with lease

kube-apiserver 10.0.0.100:6443 by proxy (auto: no remote backend has been tried)
BACKEND  ADDRESS         WEIGHT  STATE  SINCE                 CONNECTIONS  WHY
n1       10.0.0.11:6443  1       up     2026-01-01 00:00:00Z  4 (17 ever)  200 OK
n2       10.0.0.12:6443  1       up     2026-01-01 00:00:00Z  4 (17 ever)  200 OK
n3       10.0.0.13:6443  1       down   2026-01-01 00:00:00Z  0 (17 ever)  connect refused

2026-01-01 00:00:00Z  10.0.0.100  n2 → n1  n1 leads
`,
  );
});

test('statusText() lists every warning where there are several', () => {
  assert.match(
    statusText(withoutHolder, wallNowMs),
    /\n! The quorum is lost: start the agents on n2 and n3\.\n! n2 was not heard of for 12 s\.\n/,
  );
});
