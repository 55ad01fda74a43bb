// Bans between clusters: told by each of its own trust domain, kept until they run out, lifted only in so many words.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { type Ban, spiffeIds, type TrustDomain } from '@isthmus/model';
import { keys } from '@isthmus/store';
import { openTestClusters } from './testing.ts';

const EAST = 'east.acme.example' as TrustDomain;
const LIMIT_MS = 10_000;
type World = Awaited<ReturnType<typeof openTestClusters<'east' | 'west'>>>;
const worlds: World[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function openWorld() {
  const world = await openTestClusters('east', 'west');
  worlds.push(world);
  const [own, heard] = [[] as Ban[], new Map<string, readonly Ban[]>()];
  const openWest = () => world.clusters.west.open({ onPeerBans: (trustDomain, bans) => void heard.set(trustDomain, bans) });
  const east = await world.clusters.east.open({ bans: () => own });
  const west = await openWest();
  return { world, own, heard, east, west, openWest };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!holds()) {
    if (performance.now() > end) assert.fail(`${what} did not come within ${LIMIT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const ban = (over: Partial<Ban> = {}): Ban => ({
  kind: 'ban',
  id: '0123456789abcdef',
  cluster: 'east',
  trustDomain: EAST,
  spiffeId: spiffeIds.agent(EAST, 'vm-1'),
  issuedBeforeMs: Date.now(),
  expiresAtMs: Date.now() + 3_600_000,
  bannedAtMs: Date.now(),
  reason: '',
  lifted: false,
  sequence: 0,
  ...over,
});

test('a ban is told to peers, changes when it is lifted, and is there again after a restart before the peer is heard', async () => {
  const { world, own, heard, east, west, openWest } = await openWorld();
  own.push(ban());
  east.publishBans();
  await until('the ban', () => heard.get(EAST)?.[0]?.lifted === false);
  await west.settled();
  await west.close();
  await world.clusters.east.stopStore();
  heard.clear();
  const again = await openWest();
  assert.equal(heard.get(EAST)?.[0]?.spiffeId, spiffeIds.agent(EAST, 'vm-1'), 'from its own store');
  await world.clusters.east.startStore();
  own.splice(0, 1, ban({ lifted: true }));
  east.publishBans();
  await until('the lifting', () => heard.get(EAST)?.[0]?.lifted === true);
  await again.close();
});

test('a ban whose record is gone stays: only a word lifts it', async () => {
  const { world, own, heard, east } = await openWorld();
  own.push(ban());
  east.publishBans();
  await until('the ban', () => heard.get(EAST)?.length === 1);
  await world.clusters.east.store.delete(keys.sharedBan('0123456789abcdef'));
  // A second ban, heard over the same watch, comes after the deletion.
  await world.clusters.east.say(keys.sharedBan('00000000000000ff'), ban({ id: '00000000000000ff', spiffeId: spiffeIds.agent(EAST, 'vm-2'), sequence: 1 }));
  await until('the second', () => (heard.get(EAST) ?? []).some((b) => b.id === '00000000000000ff'));
  assert.ok(heard.get(EAST)?.some((b) => b.id === '0123456789abcdef' && !b.lifted));
});

test('a cluster bans nobody but its own: another’s ID, name or key, an older word and one it did not sign are set aside', async () => {
  const { world, heard, west } = await openWorld();
  const { east } = world.clusters;
  const say = (over: Partial<Ban>, key = keys.sharedBan(over.id ?? '0123456789abcdef')) => east.say(key, ban({ sequence: 5, ...over }));
  await say({ id: '0000000000000001', spiffeId: 'spiffe://west.acme.example/agent/vm-1' });
  await say({ id: '0000000000000002', cluster: 'west' });
  await say({ id: '0000000000000003', trustDomain: 'west.acme.example' });
  await say({ id: '0000000000000004' }, keys.sharedBan('0000000000000005'));
  await say({ id: '0000000000000006', spiffeId: 'no ID' });
  await east.say(keys.sharedBan('0000000000000007'), ban({ id: '0000000000000007', sequence: 5 }), { svid: world.clusters.west.authority.issue(spiffeIds.controlPlane('west.acme.example' as TrustDomain)) });
  await until('the refusals', () => west.peers()[0]?.refused === 6);
  await say({ id: '0000000000000008' });
  await until('the good one', () => heard.get(EAST)?.length === 1);
  await say({ id: '0000000000000008', lifted: true, sequence: 4 });
  await until('the older word to be set aside', () => west.peers()[0]?.refused === 7);
  assert.equal(heard.get(EAST)?.[0]?.lifted, false);
});
