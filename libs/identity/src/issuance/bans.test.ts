import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { svidFacts } from '@isthmus/pki';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { type Identity, joinOrResume } from '../proxy/join.ts';
import { startTestCluster, startTestTrustRoot, testDir, type TestCluster, type TestTrustRoot, until } from '../testing.ts';

const EAST = 'east.acme.example' as TrustDomain;
const CART = { namespace: 'shop', name: 'cart' };
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;
let directories = 0;

before(async () => {
  dir = await testDir('bans');
  root = await startTestTrustRoot(join(dir.path, 'root'));
  east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east') });
});
after(async () => {
  await east.close();
  await root.close();
  await dir.remove();
});

async function joined(agent: string, t: { after(fn: () => Promise<void>): void }): Promise<Identity> {
  const { token } = await east.issuance.createJoinToken({ agent, role: 'agent', services: ['shop/cart'] });
  const stateDir = join(dir.path, `agent-${directories++}`);
  const identity = await joinOrResume({ stateDir, token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: silentLog() });
  t.after(() => identity.close());
  return identity;
}

/** Whether the leaf an agent shows now falls under a ban of its cluster. */
function isBanned(source: { current(): { readonly spiffeId: SpiffeId; readonly chain: readonly Buffer[] } | undefined }): boolean {
  const svid = source.current();
  assert.ok(svid?.chain[0]);
  return east.authority.bundles.bans(EAST)?.of(svidFacts(svid.spiffeId, svid.chain)) !== undefined;
}

const cartOf = async (identity: Identity) => {
  const source = identity.serviceSvids(CART);
  await until(() => source.current() !== undefined, 'a service SVID');
  return source;
};

test('an agent’s ban takes all it holds and nothing of others, its right to renew and its unspent tokens; a new token brings it back', async (t) => {
  const [bad, good] = [await joined('bad', t), await joined('good', t)];
  const [badCart, goodCart] = [await cartOf(bad), await cartOf(good)];
  const spare = await east.issuance.createJoinToken({ agent: 'bad', role: 'agent', services: [] });
  await east.bans.ban({ kind: 'agent', agent: 'bad' }, 'stolen laptop');
  assert.deepEqual([isBanned(bad.svids), isBanned(badCart), isBanned(good.svids), isBanned(goodCart)], [true, true, false, false]);
  await until(() => bad.renewNow().then(() => bad.status().lastError !== undefined), 'its renewal is refused');
  await good.renewNow();
  assert.equal(good.status().lastError, undefined);
  assert.equal((await east.issuance.listEntries()).some((entry) => entry.agent === 'bad'), false);
  assert.equal((await east.issuance.listJoinTokens()).some((token) => token.id === spare.id), false);
  const again = await joined('bad', t);
  assert.deepEqual([isBanned(again.svids), isBanned(await cartOf(again)), isBanned(bad.svids)], [false, false, true]);
  assert.equal(await east.bans.lift({ kind: 'agent', agent: 'bad' }), true);
  assert.equal(await east.bans.lift({ kind: 'agent', agent: 'bad' }), false);
  assert.equal(isBanned(bad.svids), false);
});

test('one gateway of several is banned: its SVID and its right to renew; the other, of the same ID, goes on', async (t) => {
  const gateway = async (name: string): Promise<Identity> => {
    const { token } = await east.issuance.createJoinToken({ agent: name, role: 'gateway', services: [] });
    const identity = await joinOrResume({ stateDir: join(dir.path, `gateway-${directories++}`), token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: silentLog() });
    t.after(() => identity.close());
    return identity;
  };
  const [bad, good] = [await gateway('gw-bad'), await gateway('gw-good')];
  assert.equal(bad.spiffeId, good.spiffeId, 'peers know them by one ID');
  await Promise.all([bad.renewNow(), good.renewNow()]);
  await east.bans.ban({ kind: 'gateway', agent: 'gw-bad' }, 'stolen');
  assert.deepEqual([isBanned(bad.svids), isBanned(good.svids)], [true, false]);
  await until(() => bad.renewNow().then(() => bad.status().lastError !== undefined), 'its renewal is refused');
  await good.renewNow();
  assert.deepEqual([good.status().lastError, isBanned(good.svids)], [undefined, false]);
  assert.deepEqual((await east.issuance.listEntries()).flatMap((entry) => (entry.role === 'gateway' ? [entry.agent] : [])), ['gw-good']);
  assert.equal(isBanned((await gateway('gw-bad')).svids), false, 'it comes back by a new token');
  assert.equal(await east.bans.lift({ kind: 'gateway', agent: 'gw-bad' }), true);
});

test('a service’s ban takes the SVIDs of every holder, and none is issued until it is lifted', async (t) => {
  const agent = await joined('server', t);
  const cart = await cartOf(agent);
  await east.bans.ban({ kind: 'service', service: CART }, '');
  assert.deepEqual([isBanned(cart), isBanned(agent.svids)], [true, false]);
  assert.equal(east.bans.refuses(spiffeIds.service(EAST, CART)), true);
  const late = await joined('late', t);
  late.serviceSvids(CART);
  await until(() => late.status().lastError?.includes('is banned') === true || late.serviceSvids(CART).current() === undefined, 'no SVID of it is issued');
  assert.equal(late.serviceSvids(CART).current(), undefined);
  await east.bans.lift({ kind: 'service', service: CART });
  assert.equal(isBanned(cart), false);
});

test('a ban is in the log, outlives a restart, and is followed by every control plane of the cluster', async () => {
  await east.bans.ban({ kind: 'agent', agent: 'gone' }, 'left');
  const kinds = (await east.authority.ledger.read(0, 1_000)).map((record) => record.kind);
  assert.ok(kinds.includes('banned') && kinds.includes('ban-lifted'));
  const replica = await startTestCluster(join(dir.path, 'replica'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east', { replace: true }), store: east.store });
  try {
    assert.ok(replica.bans.all().some((ban) => ban.spiffeId === spiffeIds.agent(EAST, 'gone')), 'it is there from the start');
    await replica.bans.lift({ kind: 'agent', agent: 'gone' });
    await until(() => east.bans.all().some((ban) => ban.spiffeId === spiffeIds.agent(EAST, 'gone') && ban.lifted), 'the other one hears of it');
  } finally {
    await replica.close();
  }
});

test('bans of one write at once, here and at another control plane of the cluster, are one: the others change nothing, and take no rights', async (t) => {
  const replica = await startTestCluster(join(dir.path, 'replica-2'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east', { replace: true }), store: east.store });
  try {
    const key = 'idempotency/one-write';
    const fence = { compare: [{ key, exists: false as const }], then: [{ put: { key, value: 'done' } }] };
    const subject = { kind: 'service', service: { namespace: 'shop', name: 'at-once' } } as const;
    const recordedAt = async ({ authority }: TestCluster): Promise<string[]> => (await authority.ledger.read(0, 1_000)).map((record) => record.kind).filter((kind) => kind === 'banned' || kind === 'not-in-force');
    const before = [await recordedAt(east), await recordedAt(replica)];
    const tries = await Promise.allSettled([east, east, replica, replica].map(({ bans }) => bans.ban(subject, '', fence)));
    assert.equal(tries.filter((t) => t.status === 'fulfilled').length, 1);
    for (const t of tries) if (t.status === 'rejected') assert.equal((t.reason as { readonly code?: string }).code, 'IDENTITY_BAN_FENCED');
    const inForce = [await recordedAt(east), await recordedAt(replica)].map((kinds, i) => kinds.slice(before[i]?.length).reduce((sum, kind) => sum + (kind === 'banned' ? 1 : -1), 0));
    assert.equal(inForce.reduce((a, b) => a + b), 1, 'one record stands');
    await joined('kept', t);
    await assert.rejects(east.bans.ban({ kind: 'agent', agent: 'kept' }, '', fence), { code: 'IDENTITY_BAN_FENCED' });
    assert.ok((await east.issuance.listEntries()).some((entry) => entry.agent === 'kept'));
    await assert.rejects(east.bans.lift(subject, fence), { code: 'IDENTITY_BAN_FENCED' });
    assert.equal(await east.bans.lift(subject), true);
  } finally {
    await replica.close();
  }
});

test('what has no name is not banned, and a reason has a limit', async () => {
  await assert.rejects(east.bans.ban({ kind: 'agent', agent: '../x' }, ''), { code: 'IDENTITY_BAN_INVALID' });
  await assert.rejects(east.bans.ban({ kind: 'service', service: { namespace: 'A', name: 'b' } }, ''), { code: 'IDENTITY_BAN_INVALID' });
  await assert.rejects(east.bans.ban({ kind: 'agent', agent: 'a' }, 'x'.repeat(201)), { code: 'IDENTITY_BAN_INVALID' });
});

test('a ban that has run out is forgotten, and a service’s stays until it is lifted', async () => {
  let nowMs = Date.now();
  const clock = { ...systemClock, nowMs: () => nowMs };
  const later = await testDir('bans-later');
  const cluster = await startTestCluster(join(later.path, 'south'), { cluster: 'south', trustRoot: { address: root.address }, token: await root.token('south'), clock });
  try {
    const agent = await cluster.bans.ban({ kind: 'agent', agent: 'a' }, '');
    await cluster.bans.ban({ kind: 'service', service: CART }, '');
    nowMs = agent.expiresAtMs + 1;
    await cluster.store.store.put('bans/poke', 'no ban, but news');
    await until(() => cluster.bans.all().length === 1, 'the agent’s ban is gone');
    assert.equal(cluster.authority.bundles.bans('south.acme.example'), undefined, 'and proxies are told of none');
    assert.equal(cluster.bans.refuses(spiffeIds.service('south.acme.example' as TrustDomain, CART)), true);
  } finally {
    await cluster.close();
    await later.remove();
  }
});
