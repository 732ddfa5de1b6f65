/** The HTTP port as its users see it: probes, scrapers, people, and whoever sends nonsense. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as net from 'node:net';
import { after, before, suite, test } from 'node:test';
import { OperatingError } from '../../../src/base/errors.ts';
import { silentLogger } from '../../../src/base/log.ts';
import type { HttpFacts } from '../../../src/http/facts.ts';
import { healthText, reportOf } from '../../../src/http/health.ts';
import { HttpServer, type HttpServerParts } from '../../../src/http/server.ts';

const FACTS: HttpFacts = {
  version: '1.2.3',
  node: 'n1<script>',
  raft: {
    isLeader: true,
    hasLeader: true,
    term: 3,
    commitIndex: 40,
    appliedIndex: 39,
    members: { voter: 3, learner: 0, witness: 0 },
    proposals: 12,
    leaderChanges: 4,
  },
  vips: [{ address: '10.0.0.100', heldHere: true, transitions: 5 }],
  leaseRemainingMs: 250,
  timing: { promiseMs: 230, delayMs: 4, changes: 1 },
  fence: { renewals: 1_000, misses: 2, expiries: 3, droppedFrames: 7, standing: ['ebpf', 'nft'] },
  announcements: 14,
  announcementsFailed: 5,
  conflicts: 6,
  repairs: 8,
  frontends: [
    {
      name: 'api',
      clients: 2,
      accepted: 90,
      unserved: 1,
      overLimit: 0,
      connectFailures: 4,
      backends: [
        { name: 'n1', state: 'up', connections: 2, totalConnections: 50 },
        { name: 'n2', state: 'degraded', connections: 0, totalConnections: 40 },
      ],
    },
  ],
  proxyWorkerRestarts: 1,
  steeringFailures: 2,
};

/** What the server answers with; tests change it. */
const world = {
  facts: FACTS,
  live: reportOf([{ name: 'driver', ok: true, detail: 'last turn 3 ms ago' }]),
  ready: reportOf([{ name: 'raft-leader', ok: true, detail: 'n1 leads' }]),
};

const PARTS: HttpServerParts = {
  host: '127.0.0.1',
  port: 0,
  log: silentLogger,
  facts: () => world.facts,
  livez: () => world.live,
  readyz: () => world.ready,
};

const server = new HttpServer(PARTS);
let base = '';
let port = 0;

before(async () => {
  port = await server.start();
  base = `http://127.0.0.1:${port}`;
});
after(() => server.stop());

async function get(path: string, method = 'GET'): Promise<{ status: number; body: string }> {
  const response = await fetch(base + path, { method });
  return { status: response.status, body: await response.text() };
}

/** The samples of a scrape, by series. */
async function scrape(): Promise<Map<string, number>> {
  const { body } = await get('/metrics');
  const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const cut = line.lastIndexOf(' ');
      return [line.slice(0, cut), Number(line.slice(cut + 1))];
    }),
  );
}

suite('/livez and /readyz', () => {
  test('say ok, and the checks when asked', async () => {
    assert.deepEqual(await get('/livez'), { status: 200, body: 'ok' });
    assert.deepEqual(await get('/readyz?verbose'), {
      status: 200,
      body: '[+]raft-leader ok: n1 leads\nreadyz check passed\n',
    });
  });

  test('fail with the reason, asked or not', async () => {
    const former = world.ready;
    world.ready = reportOf([
      { name: 'storage', ok: true, detail: 'synced 2 ms ago' },
      { name: 'raft-leader', ok: false, detail: 'none heard for 4 s' },
    ]);
    const answer = await get('/readyz');
    world.ready = former;

    assert.equal(answer.status, 500);
    assert.equal(
      answer.body,
      '[+]storage ok: synced 2 ms ago\n' +
        '[-]raft-leader failed: none heard for 4 s\n' +
        'readyz check failed\n',
    );
    assert.equal((await get('/livez')).status, 200);
  });

  test('healthText() of no checks is ok', () => {
    assert.equal(healthText('livez', reportOf([]), false), 'ok');
  });
});

suite('/metrics', () => {
  test('shows every fact, with units', async () => {
    const samples = await scrape();
    const wanted: Readonly<Record<string, number>> = {
      'holdfast_build_info{version="1.2.3",node="n1<script>"}': 1,
      holdfast_is_leader: 1,
      holdfast_has_leader: 1,
      holdfast_term: 3,
      holdfast_commit_index: 40,
      holdfast_applied_index: 39,
      holdfast_raft_proposals_total: 12,
      'holdfast_members{role="voter"}': 3,
      'holdfast_members{role="witness"}': 0,
      'holdfast_vip_held{vip="10.0.0.100"}': 1,
      'holdfast_vip_transitions_total{vip="10.0.0.100"}': 5,
      holdfast_lease_remaining_seconds: 0.25,
      holdfast_fence_renewals_total: 1_000,
      holdfast_leader_changes_total: 4,
      holdfast_fence_misses_total: 2,
      holdfast_fence_expiries_total: 3,
      holdfast_fence_dropped_frames_total: 7,
      'holdfast_fence_standing{kind="ebpf"}': 1,
      'holdfast_fence_standing{kind="nft"}': 1,
      holdfast_arp_announcements_total: 14,
      holdfast_arp_announcements_failed_total: 5,
      holdfast_vip_conflicts_total: 6,
      holdfast_vip_repairs_total: 8,
      'holdfast_frontend_clients{frontend="api"}': 2,
      'holdfast_frontend_accepted_total{frontend="api"}': 90,
      'holdfast_frontend_unserved_total{frontend="api"}': 1,
      'holdfast_frontend_over_limit_total{frontend="api"}': 0,
      'holdfast_frontend_connect_failures_total{frontend="api"}': 4,
      'holdfast_backend_up{frontend="api",backend="n1"}': 1,
      'holdfast_backend_up{frontend="api",backend="n2"}': 0,
      'holdfast_backend_state{frontend="api",backend="n2",state="degraded"}': 1,
      'holdfast_backend_state{frontend="api",backend="n2",state="up"}': 0,
      'holdfast_backend_connections{frontend="api",backend="n1"}': 2,
      'holdfast_backend_connections_total{frontend="api",backend="n1"}': 50,
      holdfast_proxy_worker_restarts_total: 1,
      holdfast_steering_failures_total: 2,
    };
    for (const [series, value] of Object.entries(wanted)) {
      assert.equal(samples.get(series), value, series);
    }
  });

  test('shows the process, and no event-loop figure of a probe that is not there', async () => {
    const samples = await scrape();
    const names = [...samples.keys()];

    assert.ok((samples.get('process_cpu_seconds_total') ?? 0) > 0);
    assert.ok((samples.get('process_resident_memory_bytes') ?? 0) > 1e6);
    assert.ok((samples.get('holdfast_event_loop_delay_p99_seconds') ?? -1) >= 0);
    assert.deepEqual(
      names.filter((name) => name.startsWith('nodejs_eventloop_lag')),
      [],
    );
  });

  test('follows the facts: totals are not added up, what has left is gone', async () => {
    await scrape();
    const fence = { ...FACTS.fence, renewals: 1_001, standing: [] };
    world.facts = { ...FACTS, vips: [], fence, frontends: [] };
    const samples = await scrape();
    world.facts = FACTS;

    assert.equal(samples.get('holdfast_fence_renewals_total'), 1_001);
    const left = [...samples.keys()].filter((name) =>
      /vip_held|backend|frontend|standing/.test(name),
    );
    assert.deepEqual(left, []);
  });

  test('documents each metric', async () => {
    const { body } = await get('/metrics');
    const names = [...body.matchAll(/^# TYPE (holdfast_\S+)/gm)].map((match) => match[1]);

    assert.ok(names.length > 20);
    for (const name of names) assert.match(body, new RegExp(`^# HELP ${name} .{10,}$`, 'm'));
  });
});

suite('the page', () => {
  test('says what this is, without letting a name speak HTML', async () => {
    const { status, body } = await get('/');

    assert.equal(status, 200);
    assert.match(body, /Holdfast 1\.2\.3 on n1&lt;script&gt;/);
    assert.match(body, /is ready and holds 10\.0\.0\.100/);
  });
});

suite('whatever else is asked', () => {
  test('unknown paths are not found, other methods not allowed', async () => {
    assert.equal((await get('/admin')).status, 404);
    assert.equal((await get('/livez/x')).status, 404);
    const response = await fetch(`${base}/livez`, { method: 'POST', body: 'x' });

    assert.equal(response.status, 405);
    assert.equal(response.headers.get('allow'), 'GET, HEAD');
  });

  test('HEAD has no body', async () => {
    assert.deepEqual(await get('/livez', 'HEAD'), { status: 200, body: '' });
  });

  test('a header beyond the limit is refused', async () => {
    const response = await fetch(`${base}/livez`, { headers: { x: 'y'.repeat(10_000) } });

    assert.equal(response.status, 431);
  });

  test('nonsense ends the connection, not the server', async () => {
    const socket = net.connect(port, '127.0.0.1');
    socket.write('\x16\x03\x01 this is TLS, say\r\n\r\n');
    socket.resume();
    await once(socket, 'close');

    assert.equal((await get('/livez')).status, 200);
  });

  test('a failure of the facts is a 500, not an end', async () => {
    const broken = new HttpServer({
      ...PARTS,
      facts: () => {
        throw new Error('no facts');
      },
    });
    const brokenPort = await broken.start();
    const response = await fetch(`http://127.0.0.1:${brokenPort}/metrics`);
    await broken.stop();

    assert.equal(response.status, 500);
  });
});

test('a port in use is an operating error that says what to do', async () => {
  const second = new HttpServer({ ...PARTS, port });

  await assert.rejects(second.start(), (error) => {
    assert.ok(error instanceof OperatingError);
    assert.equal(error.code, 'port-in-use');
    assert.match(error.line, /127\.0\.0\.1 port \d+: in use; .*--http-listen/);
    return true;
  });
  await second.stop();
});
