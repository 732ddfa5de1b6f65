/**
 * A trial of the kernel's path on the real kernel: it succeeds where packets are passed on, and
 * tells who is in the way where they are not. Needs root.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { prng } from '../../src/base/prng.ts';
import { watchRules } from '../../src/linux/kernel-events.ts';
import { createTrial, TRIAL_TABLE } from '../../src/linux/trial.ts';
import { TRIAL_DEVICE } from '../../src/linux/trial-device.ts';
import { addNamespace, cable, enterFreshNamespace, inNamespace, run } from './netns.ts';

const PORT = 6443;
const CLOSED_PORT = 6444;
const BACKENDS = ['10.78.0.2', 'fd78::2'];

enterFreshNamespace();
const peer = addNamespace('backend');
cable('eth0', peer, { v4: '10.78.0', v6: 'fd78' });
const trial = createTrial({ clock: systemClock(), random: prng(5) });
const server = createServer((socket) => socket.on('error', () => undefined));

function nft(...commands: readonly string[]): void {
  for (const command of commands) run(`nft ${command}`);
}

before(async () => {
  inNamespace(peer, () => server.listen(PORT));
  await once(server, 'listening');
});

after(() => {
  server.close();
  trial.close();
  assert.equal(run('nft list tables').trim(), '');
});

suite('a trial', () => {
  for (const address of BACKENDS) {
    test(`succeeds with ${address} where nothing is in the way, and leaves no connection`, async () => {
      assert.equal(await trial.run({ address, port: PORT }), null);
      assert.equal(await trial.run({ address, port: PORT }), null);
      const open = inNamespace(peer, () => run('ss -Htn'));
      assert.equal(open, '');
    });

    test(`says that ${address} is not reached where passed-on packets are dropped`, async () => {
      nft(
        'add table inet theirs',
        'add chain inet theirs forward { type filter hook forward priority 0 ; policy drop ; }',
      );

      assert.match((await trial.run({ address, port: PORT })) ?? '', /drops what the kernel/);

      nft('delete table inet theirs');
      assert.equal(await trial.run({ address, port: PORT }), null);
    });

    test(`says that ${address} is refused where a firewall rejects`, async () => {
      nft(
        'add table inet theirs',
        'add chain inet theirs forward { type filter hook forward priority 0 ; }',
        'add rule inet theirs forward reject with icmpx admin-prohibited',
      );

      assert.match((await trial.run({ address, port: PORT })) ?? '', /refuses what the kernel/);

      nft('delete table inet theirs');
    });

    test(`says that ${address} is not reached where connections are not tracked`, async () => {
      nft(
        'add table inet theirs',
        'add chain inet theirs raw { type filter hook prerouting priority -300 ; }',
        'add rule inet theirs raw tcp dport != 1 notrack',
      );

      assert.notEqual(await trial.run({ address, port: PORT }), null);

      nft('delete table inet theirs');
    });

    test(`is refused by ${address} where nobody listens`, async () => {
      assert.match((await trial.run({ address, port: CLOSED_PORT })) ?? '', /refuses/);
    });
  }

  test('tells other hosts from this one', () => {
    assert.deepEqual(
      ['10.78.0.1', 'fd78::1', ...BACKENDS].map((address) => trial.isRemote(address)),
      [false, false, true, true],
    );
  });

  test('stands again after a flush of the whole ruleset', async () => {
    nft('flush ruleset');

    assert.equal(await trial.run({ address: BACKENDS[0] ?? '', port: PORT }), null);
  });

  test('goes with the process, and its table with its end', () => {
    assert.match(run(`ip link show ${TRIAL_DEVICE}`), /POINTOPOINT/);
    assert.match(run('nft list tables'), new RegExp(TRIAL_TABLE));
  });
});

test('watchRules() hears of rules and routes of others, and not of ours', async (context) => {
  let changes = 0;
  let heard = Promise.withResolvers<void>();
  const watch = watchRules(systemClock(), () => {
    changes++;
    heard.resolve();
  });
  context.after(() => watch.close());
  nft('add table inet holdfast_forward', 'add chain inet holdfast_forward one');
  for (const act of [
    () => nft('add table inet theirs'),
    () => run('ip route add 10.99.0.0/24 dev lo'),
    () => nft('delete table inet theirs'),
    () => nft('flush ruleset'),
  ]) {
    heard = Promise.withResolvers();
    act();
    await heard.promise;
  }

  assert.equal(changes, 4);
});
