// Three real etcd members: the leader killed, quorum lost, a member that lags behind (reliability rows 6, 7, 12).
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { follow, until } from './lossy-link.ts';
import { openStore } from './open-store.ts';
import { openRaw } from './raw-client.ts';
import { type EtcdCluster, type EtcdMember, noEtcd, startEtcd } from './real-etcd.ts';
import type { Store } from './store.ts';

const TIMES = { callTimeoutMs: 3000, watchIdleMs: 500, watchDeadlineMs: 1000, backoffBaseMs: 20, backoffMaxMs: 200 };

async function leaderOf(cluster: EtcdCluster): Promise<EtcdMember> {
  for (const member of cluster.members) {
    const raw = openRaw(member.endpoint);
    try {
      const { leader, header } = await raw.status();
      if (leader === header?.memberId) return member;
    } finally {
      raw.close();
    }
  }
  throw new Error('no leader');
}

describe('a cluster of three etcd members', { ...(noEtcd === undefined ? {} : { skip: noEtcd }) }, () => {
  let cluster: EtcdCluster;
  let store: Store;
  const clients: Store[] = [];
  const open = async (endpoints: readonly string[]): Promise<Store> => {
    const client = await openStore({ endpoints, log: silentLog(), metrics: openMetrics(), clock: systemClock, times: TIMES });
    clients.push(client);
    return client;
  };
  before(async () => {
    cluster = await startEtcd(3);
    store = await open(cluster.endpoints);
  });
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await cluster.close();
  });

  it('a member that was behind does not take a reader back in time', async () => {
    const leader = await leaderOf(cluster);
    const follower = cluster.members.find((member) => member !== leader);
    assert.ok(follower);
    const behind = await open([follower.endpoint]);
    await store.put('lag/a', '0');
    assert.equal((await behind.get('lag/a'))?.value.toString(), '0');
    const ahead = await open([leader.endpoint]);
    follower.process.kill('SIGSTOP');
    for (let i = 1; i <= 20; i++) await ahead.put('lag/a', String(i));
    follower.process.kill('SIGCONT');
    assert.equal((await behind.get('lag/a'))?.value.toString(), '20');
  });

  it('the leader killed loses no acknowledged write, and a watch misses none', async () => {
    const watch = follow(store, 'kill/');
    await until('the list', () => watch.told.length === 1);
    const acknowledged: string[] = [];
    const leader = await leaderOf(cluster);
    let afterKill = 0;
    for (let i = 0; afterKill < 20; i++) {
      if (i === 20) await leader.kill('SIGKILL');
      const key = `kill/${i}`;
      try {
        await store.put(key, 'x');
        acknowledged.push(key);
        if (i >= 20) afterKill++;
      } catch (error) {
        assert.match((error as { code: string }).code, /^STORE_(UNAVAILABLE|OUTCOME_UNKNOWN)$/, 'a failure is never anything else, nor a success');
      }
    }
    const there = new Set((await store.list('kill/')).entries.map((entry) => entry.key));
    assert.deepEqual(acknowledged.filter((key) => !there.has(key)), []);
    await until('every write to be told', () => acknowledged.every((key) => watch.state.has(key)));
    await watch.stop();
    leader.start();
    const back = openRaw(leader.endpoint);
    await until('the killed member to serve again', () => back.status().then(() => true, () => false));
    back.close();
  });

  it('without quorum nothing is reported as written, and what was known stays known', async () => {
    await store.put('quorum/a', 'kept');
    const watch = follow(store, 'quorum/');
    await until('the list', () => watch.told.length === 1);
    const [first, second] = cluster.members;
    await Promise.all([first?.kill('SIGKILL'), second?.kill('SIGKILL')]);
    await assert.rejects(store.put('quorum/a', 'lost'), { code: /^STORE_(UNAVAILABLE|OUTCOME_UNKNOWN)$/ });
    await assert.rejects(store.get('quorum/a'), { code: 'STORE_UNAVAILABLE' });
    await until('the watch to say so', () => watch.told.at(-1) === 'unknown');
    assert.equal(watch.state.get('quorum/a'), 'kept');
    first?.start();
    second?.start();
    await until('the watch to be level again', () => watch.told.at(-1) === 'known');
    await until('a write', () => store.put('quorum/b', 'new').then(() => true, () => false));
    await until('the write to be told', () => watch.state.has('quorum/b'));
    await watch.stop();
  });
});
