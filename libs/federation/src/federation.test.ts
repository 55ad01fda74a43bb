import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { spiffeIds } from '@isthmus/model';
import { keys } from '@isthmus/store';
import type { Federation } from './federation.ts';
import { anExport, openTestClusters, type TestCluster } from './testing.ts';

const PAYMENTS = { namespace: 'shop', name: 'payments' };
const LIMIT_MS = 10_000;

type World = Awaited<ReturnType<typeof openTestClusters<'east' | 'west'>>>;
const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function openWorld(): Promise<World> {
  const world = await openTestClusters('east', 'west');
  worlds.push(world);
  return world;
}

/** Waits on a condition, looked at whenever the event loop turns. */
async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!holds()) {
    if (performance.now() > end) assert.fail(`${what} did not come within ${LIMIT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const ready = (federation: Federation): number | undefined => federation.importsOf(PAYMENTS)[0]?.readyCount;

function export_(cluster: TestCluster, federation: Federation, over: Parameters<typeof anExport>[0] = {}): void {
  const made = anExport(over);
  cluster.exports.set(`shop/${made.export.name}`, made);
  federation.publish([{ namespace: 'shop', name: made.export.name }]);
}

test('what one cluster exports, the other imports; a change follows, a withdrawal too', async () => {
  const { clusters } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east, { ready: 2 });
  await until('the import, and a heartbeat', () => ready(west) === 2 && west.importsOf(PAYMENTS)[0]?.state === 'fresh');
  assert.deepEqual(
    west.importsOf(PAYMENTS).map((i) => [i.cluster, i.trustDomain, i.readyWeight, i.state]),
    [['east', 'east.acme.example', 200, 'fresh']],
  );
  export_(clusters.east, east, { ready: 0, total: 2 });
  await until('the change', () => ready(west) === 0);
  clusters.east.exports.clear();
  east.publish([PAYMENTS]);
  await until('the withdrawal', () => west.imports().length === 0);
});

test('an export to others does not even show its name', async () => {
  const { clusters } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east, { name: 'secret', consumers: ['north'] });
  export_(clusters.east, east);
  await until('the open export', () => ready(west) === 1);
  assert.deepEqual(west.imports().map((i) => i.name), ['payments']);
  const mirrored = (await clusters.west.store.list(keys.peers('east'))).entries.map((e) => e.key);
  assert.ok(mirrored.every((key) => !key.includes('secret')));
});

test('a peer that goes away stays in service, stale and then presumed dead with its age, and comes back fresh', async () => {
  const { clusters } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east, { ready: 3 });
  await until('the import', () => ready(west) === 3);
  await clusters.east.stopStore();
  await until('presumed dead', () => west.peers()[0]?.state === 'presumed-dead');
  const [peer] = west.peers();
  assert.ok((peer?.ageMs ?? 0) >= 1_500);
  assert.ok(peer?.staleSinceMs !== undefined);
  assert.equal(ready(west), 3, 'its last known state stays in service');
  assert.equal(west.importsOf(PAYMENTS)[0]?.state, 'presumed-dead');
  await clusters.east.startStore();
  await until('fresh again', () => west.peers()[0]?.state === 'fresh');
  assert.equal(ready(west), 3);
});

test('a restart while a peer is away is ready at once, with the peer’s last known state marked stale (never empty)', async () => {
  const { clusters } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east, { ready: 2 });
  await until('the import', () => ready(west) === 2);
  let mirrored = false;
  await until('the mirror on disk', () => {
    clusters.west.store.get(keys.peer('east', keys.sharedExport('all', 'shop', 'payments'))).then((v) => (mirrored ||= v !== undefined), () => undefined);
    return mirrored;
  });
  await clusters.east.stopStore();
  await west.close();
  const again = await clusters.west.open();
  assert.equal(ready(again), 2);
  assert.notEqual(again.importsOf(PAYMENTS)[0]?.state, 'fresh');
});

test('records that do not verify are set aside and counted, and the last good one stays', async () => {
  const { clusters } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east, { ready: 2 });
  await until('the import', () => ready(west) === 2);
  const key = keys.sharedExport('all', 'shop', 'payments');
  const digest = { kind: 'digest', cluster: 'east', namespace: 'shop', name: 'payments', sequence: Date.now() + 60_000, ports: [{ name: 'http', port: 80, protocol: 'http' }], readyCount: 9, totalCount: 9, readyWeight: 900 };
  const bad: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['garbage', () => clusters.east.store.put(key, '{"no":"record"}')],
    ['a record signed by an agent', () => clusters.east.say(key, digest, { svid: clusters.east.authority.issue(spiffeIds.agent(clusters.east.authority.trustDomain, 'a')) })],
    ['a record signed by another cluster', () => clusters.east.say(key, digest, { svid: clusters.west.authority.issue('spiffe://west.acme.example/control-plane') })],
    ['a record that claims to be another cluster’s', () => clusters.east.say(key, { ...digest, cluster: 'west' })],
    ['a record of another name', () => clusters.east.say(key, { ...digest, name: 'ledger' })],
    ['a record with a field of the wrong type', () => clusters.east.say(key, { ...digest, readyCount: 'many' })],
    ['an older sequence', () => clusters.east.say(key, { ...digest, sequence: 1 })],
  ];
  for (const [what, say] of bad) {
    const before = west.peers()[0]?.lastRefusal;
    await say();
    await until(`refusal of ${what}`, () => west.peers()[0]?.refused === 1 && west.peers()[0]?.lastRefusal !== before);
    assert.equal(ready(west), 2, what);
  }
  await clusters.east.say(key, digest);
  await until('the next good record', () => ready(west) === 9 && west.peers()[0]?.refused === 0);
});

test('a rotated SVID signs everything anew and changes nothing for the reader', async () => {
  const { clusters } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east, { ready: 2 });
  await until('the import', () => ready(west) === 2);
  const key = keys.sharedExport('all', 'shop', 'payments');
  const before = (await clusters.east.store.get(key))?.value.toString();
  clusters.east.rotate();
  let after = before;
  await until('the new signature', () => {
    clusters.east.store.get(key).then((v) => (after = v?.value.toString()), () => undefined);
    return after !== before;
  });
  export_(clusters.east, east, { ready: 1 });
  await until('the change after it', () => ready(west) === 1);
  assert.equal(west.peers()[0]?.refused, 0);
});

test('a member that is removed goes one-sidedly, though it is dead, with its mirror', async () => {
  const { clusters, members, membersChanged } = await openWorld();
  const [east, west] = [await clusters.east.open(), await clusters.west.open()];
  export_(clusters.east, east);
  await until('the import', () => ready(west) === 1);
  await clusters.east.stopStore();
  members.splice(members.findIndex((m) => m.cluster === 'east'), 1);
  membersChanged();
  await until('the withdrawal', () => west.imports().length === 0 && west.peers().length === 0);
  let left = 1;
  await until('an empty mirror', () => {
    clusters.west.store.list(keys.peers('east')).then((l) => (left = l.entries.length), () => undefined);
    return left === 0;
  });
});

test('each side judges by its own evidence: west may not see east while east sees west', async () => {
  const { clusters } = await openWorld();
  const east = await clusters.east.open();
  const west = await clusters.west.open({
    openPeer: () => {
      throw new Error('the way to east is cut');
    },
  });
  await until('east sees west', () => east.peers()[0]?.state === 'fresh');
  await until('west does not see east', () => west.peers()[0]?.state === 'presumed-dead');
  assert.equal(east.peers()[0]?.state, 'fresh');
});
