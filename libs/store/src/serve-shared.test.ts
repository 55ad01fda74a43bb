import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roleOf, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { fixedSvidSource, openBundleSet } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { etcd, openChannel, type RpcChannel, startRpcServer } from '@isthmus/rpc';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { keys } from './keys.ts';
import { follow, until } from './lossy-link.ts';
import { openPeerStore } from './peer-store.ts';
import { serveShared } from './serve-shared.ts';
import type { WatchEvent } from './store.ts';
import { openTestStore, type TestStore } from './testing.ts';
import { watchCreateRequest } from './wire.ts';

const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });
const bundles = openBundleSet([east.bundle, west.bundle]);
const EAST_ID = 'spiffe://east.acme.example/control-plane' as SpiffeId;
const parts = { log: silentLog(), metrics: openMetrics(), clock: systemClock };

/** East's store behind its door, and a channel to it as any identity. */
async function withDoor(use: (store: TestStore, as: (id: string) => RpcChannel, members: Set<string>) => Promise<void>): Promise<void> {
  const members = new Set(['west', 'north']);
  const backing = await openTestStore();
  const door = serveShared({
    endpoints: [backing.endpoint],
    authorize: (id) => {
      const cluster = trustDomainOf(id).split('.')[0] ?? '';
      return roleOf(id).kind === 'control-plane' && members.has(cluster) ? { cluster } : undefined;
    },
    maxWatchesPerPeer: 3,
    ...parts,
  });
  const server = await startRpcServer({ listen: { host: '127.0.0.1', port: 0 }, svids: fixedSvidSource(east.issue(EAST_ID)), bundles, services: door.services, log: parts.log });
  const channels: RpcChannel[] = [];
  const as = (id: string): RpcChannel => {
    const svid = (id.includes('//west.') ? west : east).issue(id);
    const channel = openChannel({ address: server.address, serverName: 'store.isthmus.east.acme.example', expectedId: EAST_ID, svids: fixedSvidSource(svid), bundles, log: parts.log });
    channels.push(channel);
    return channel;
  };
  try {
    await use(backing, as, members);
  } finally {
    for (const channel of channels) channel.close();
    await door.close();
    await server.close(500);
    await backing.close();
  }
}

const WEST = 'spiffe://west.acme.example/control-plane';

test('a peer reads what is shared with all and with it, and nothing else', () =>
  withDoor(async ({ store }, as) => {
    await store.put(keys.sharedCluster(), 'c');
    await store.put(keys.sharedExport('all', 'shop', 'payments'), 'p');
    await store.put(keys.sharedExport('west', 'shop', 'ledger'), 'l');
    await store.put(keys.sharedExport('north', 'shop', 'secret'), 's');
    await store.put(keys.resource('service', 'shop', 'vault'), 'v');
    const peer = openPeerStore(as(WEST), parts);
    assert.equal((await peer.get(keys.sharedCluster()))?.value.toString(), 'c');
    assert.deepEqual((await peer.list('shared/all/')).entries.map((e) => e.value.toString()), ['p']);
    assert.deepEqual((await peer.list('shared/to/west/')).entries.map((e) => e.value.toString()), ['l']);
    for (const prefix of ['shared/', 'shared/to/north/', 'resources/', '']) {
      await assert.rejects(peer.list(prefix), { code: 'STORE_DENIED' }, `must not list ${prefix}`);
    }
    await peer.close();
  }));

test('nobody but a control plane reads, and nobody writes', () =>
  withDoor(async ({ store }, as) => {
    await store.put(keys.sharedCluster(), 'c');
    for (const id of ['spiffe://west.acme.example/agent/a', 'spiffe://west.acme.example/gateway']) {
      const stranger = openPeerStore(as(id), parts);
      await assert.rejects(stranger.get(keys.sharedCluster()), { code: 'STORE_DENIED' });
      await stranger.close();
    }
    const kv = as(WEST).client(etcd.KVClient);
    const key = Buffer.from('/isthmus/v1/shared/cluster');
    const refusal = await new Promise<number | undefined>((resolve) => {
      kv.put({ key, value: Buffer.from('x'), lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false }, (error) => resolve(error?.code));
    });
    assert.equal(refusal, 7);
    assert.equal((await store.get(keys.sharedCluster()))?.value.toString(), 'c');
  }));

test('a peer’s watch brings changes, and a watch outside its ranges is denied', () =>
  withDoor(async ({ store }, as) => {
    const peer = openPeerStore(as(WEST), parts);
    const abort = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const event of peer.watch('shared/all/', { signal: abort.signal })) {
        seen.push(told(event));
        if (event.kind === 'snapshot') await store.put(keys.sharedExport('all', 'shop', 'payments'), 'p');
        if (event.kind === 'put') await store.delete(keys.sharedExport('all', 'shop', 'payments'));
        if (event.kind === 'delete') abort.abort();
      }
    })();
    await watching;
    assert.deepEqual(seen.filter((s) => s !== 'known'), ['snapshot 0', 'put shared/all/exports/shop/payments', 'delete shared/all/exports/shop/payments']);
    const denied = async (): Promise<void> => {
      for await (const event of peer.watch('resources/', { signal: AbortSignal.timeout(5_000) })) assert.fail(`told ${event.kind}`);
    };
    await assert.rejects(denied(), { code: 'STORE_DENIED' });
    await peer.close();
  }));

test('a peer holds so many watches and no more, and may open others once it ended some', () =>
  withDoor(async (_backing, as) => {
    const channel = as(WEST);
    const peer = openPeerStore(channel, parts);
    const watches = [1, 2, 3].map(() => follow(peer, 'shared/all/'));
    await until('three watches', () => watches.every((watch) => watch.told.length > 0));
    const client = channel.client(etcd.WatchClient);
    const fourth = (): Promise<number | undefined> =>
      new Promise((resolve) => {
        const stream = client.watch();
        stream.on('error', (error: { code?: number }) => resolve(error.code));
        stream.on('data', () => {
          resolve(0);
          stream.cancel();
        });
        const value = watchCreateRequest({ key: Buffer.from('/isthmus/v1/shared/cluster') });
        stream.write({ requestUnion: { $case: 'createRequest', value } });
      });
    await until('the fourth to be refused', async () => (await fourth()) === 8);
    await watches[0]?.stop();
    await until('another to be let in', async () => (await fourth()) === 0);
    await Promise.all(watches.map((watch) => watch.stop()));
    await peer.close();
  }));

test('a cluster that is no member any more is cut off from a watch it has open', () =>
  withDoor(async (backing, as, members) => {
    const peer = openPeerStore(as(WEST), parts);
    const watch = follow(peer, 'shared/all/');
    const ended = assert.rejects(watch.ended, { code: 'STORE_DENIED' });
    await until('the list', () => watch.told.length > 0);
    members.delete('west');
    await backing.store.put(keys.sharedExport('all', 'shop', 'payments'), 'p');
    await ended;
    assert.equal(watch.state.size, 0);
    await peer.close();
  }));

function told(event: WatchEvent): string {
  switch (event.kind) {
    case 'snapshot':
      return `snapshot ${event.entries.length}`;
    case 'put':
    case 'delete':
      return `${event.kind} ${event.key}`;
    default:
      return event.kind;
  }
}
