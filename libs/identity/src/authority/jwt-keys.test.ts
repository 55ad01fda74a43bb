import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { type JwtAuthority, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, jwtAuthorityOf, parseJwtSvid, verifyJwtSvid } from '@isthmus/pki';
import { call, openChannel, trust } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { joinOrResume } from '../proxy/join.ts';
import { FEDERATION, startTestCluster, startTestTrustRoot, testDir, until } from '../testing.ts';
import { fileKeyStore } from '../key-store.ts';
import { openJwtKeyFile, parseJwtKeysState } from './jwt-key-file.ts';
import { openJwtKeys, planKeys, signingKey } from './jwt-keys.ts';
import { openJsonState } from '../state.ts';

const DAY_MS = 86_400_000;
const EAST = 'east.acme.example' as TrustDomain;
const ID = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
const kidOf = (token: string): string | undefined => {
  const read = parseJwtSvid(token);
  return read.ok ? read.value.keyId : undefined;
};

test('a new key is due at half the life of the newest, and a key leaves at the end of its own', () => {
  assert.equal(planKeys([], 0).isNewDue, true);
  const [old, young] = [{ createdAtMs: 0 }, { createdAtMs: 3.5 * DAY_MS }];
  assert.deepEqual(planKeys([old], 3.5 * DAY_MS - 1), { keep: [old], isNewDue: false, nextMs: 1 });
  assert.equal(planKeys([old], 3.5 * DAY_MS).isNewDue, true);
  assert.deepEqual(planKeys([old, young], 6.9 * DAY_MS).keep, [old, young]);
  assert.deepEqual(planKeys([old, young], 7 * DAY_MS).keep, [young]);
});

test('a new key signs once others had time to learn of it; the first at once; one that is not published never', () => {
  const published = (createdAtMs: number, publishedAtMs?: number) => ({ createdAtMs, ...(publishedAtMs !== undefined && { publishedAtMs }) });
  const [a, b, c] = [published(0, 10), published(1_000_000, 1_000_010), published(2_000_000)];
  assert.equal(signingKey([c], 3_000_000), undefined);
  assert.equal(signingKey([a], 11), a);
  assert.equal(signingKey([a, b], 1_000_020), a);
  assert.equal(signingKey([a, b, c], 1_600_010), b);
});

test('keys are kept across a restart, private and whole', async () => {
  const dir = await testDir('jwt-keys');
  const file = openJsonState(join(dir.path, 'jwt.state'), parseJwtKeysState, 100_000);
  const seen: (readonly JwtAuthority[])[] = [];
  const keys = fileKeyStore(dir.path);
  const open = async () => openJwtKeys({ kept: await openJwtKeyFile({ file, keys }), publish: async (published) => void seen.push(published), clock: systemClock, random: systemRandom, log: silentLog() });
  const first = await open();
  assert.deepEqual(seen, []);
  const { token } = await first.sign({ spiffeId: ID, audience: ['a'] });
  await first.close();
  const second = await open();
  await until(() => seen.length === 2, 'published again after the restart');
  assert.equal(kidOf((await second.sign({ spiffeId: ID, audience: ['a'] })).token), kidOf(token));
  assert.deepEqual(seen[1], seen[0]);
  await second.close();
  await dir.remove();
});

test('while the trust root is away, a first token waits for it and says so; a later one does not', { timeout: 60_000 }, async () => {
  const dir = await testDir('jwt-away');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east') });
  await root.close();
  await assert.rejects(east.authority.signJwt({ spiffeId: ID, audience: ['a'] }), { code: 'IDENTITY_JWT_NOT_READY' });
  const back = await startTestTrustRoot(join(dir.path, 'root'), { port: root.port });
  await until(() => east.authority.signJwt({ spiffeId: ID, audience: ['a'] }).then(() => true, () => false), 'a token', 30_000);
  await back.close();
  assert.ok((await east.authority.signJwt({ spiffeId: ID, audience: ['a'] })).token);
  await east.close();
  await dir.remove();
});

test('an agent’s token is taken in the other cluster, by the key its own cluster published', { timeout: 60_000 }, async () => {
  const dir = await testDir('jwt');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const start = async (cluster: string) => startTestCluster(join(dir.path, cluster), { cluster, trustRoot: { address: root.address }, token: await root.token(cluster) });
  const [east, west] = [await start('east'), await start('west')];
  const { token } = await east.issuance.createJoinToken({ agent: 'vm-1', role: 'agent', services: ['shop/payments'] });
  const agent = await joinOrResume({ stateDir: join(dir.path, 'vm-1'), token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: silentLog() });
  const before = west.authority.bundles.get(EAST)?.sequence ?? 0;

  const svid = await agent.jwtSvid({ namespace: 'shop', name: 'payments' }, ['ledger']);
  assert.ok(svid.expiresAtMs - Date.now() <= 300_000 && svid.expiresAtMs - Date.now() > 200_000);
  await until(() => (west.authority.bundles.get(EAST)?.jwtAuthorities ?? []).length === 1, 'west knows east’s key');
  assert.ok((west.authority.bundles.get(EAST)?.sequence ?? 0) > before);
  const verify = (audience: string) => verifyJwtSvid({ token: svid.token, audience, bundles: west.authority.bundles, nowMs: Date.now() });
  assert.equal((await verify('ledger')).ok, true);
  assert.equal((await verify('another')).ok, false);
  assert.equal((await agent.jwtSvid({ namespace: 'shop', name: 'payments' }, ['ledger'])).token, svid.token);
  assert.deepEqual(west.authority.bundles.get(west.authority.trustDomain)?.jwtAuthorities, undefined);

  await assert.rejects(agent.jwtSvid({ namespace: 'shop', name: 'vault' }, ['ledger']), { code: 'IDENTITY_DENIED' });
  await assert.rejects(agent.jwtSvid({ namespace: 'shop', name: 'payments' }, []), { code: 'IDENTITY_JWT_INVALID' });
  await assert.rejects(east.authority.signJwt({ spiffeId: spiffeIds.service(west.authority.trustDomain, { namespace: 'shop', name: 'payments' }), audience: ['a'] }), { code: 'IDENTITY_DENIED' });
  await agent.close();
  await Promise.all([east.close(), west.close()]);
  await root.close();
  await dir.remove();
});

test('only a member publishes, only for itself, and only strong keys', { timeout: 60_000 }, async () => {
  const dir = await testDir('jwt-publish');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east') });
  const publish = async (keys: readonly JwtAuthority[], svids = east.authority.svids): Promise<void> => {
    const channel = openChannel({ address: root.address, serverName: `trust-root.isthmus.${FEDERATION}`, svids, bundles: east.authority.bundles, log: silentLog() });
    const client = channel.client(trust.TrustRootClient);
    const wire = keys.map(({ keyId, publicKey }) => ({ keyId, publicKey: Buffer.from(publicKey, 'base64') }));
    await call(client.publishJwtKeys.bind(client), { keys: wire }, { timeoutMs: 10_000 }).finally(() => channel.close());
  };
  const good = jwtAuthorityOf(generateKey());
  await publish([good]);
  await until(() => (east.authority.bundles.get(EAST)?.jwtAuthorities ?? []).length === 1, 'the key is in the bundle');
  const { sequence } = east.authority.bundles.get(EAST) ?? { sequence: 0 };
  await publish([good]);
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
  for (const keys of [[good, good], [{ keyId: 'x', publicKey: 'AAAA' }], [jwtAuthorityOf(weak)], [jwtAuthorityOf(generateKey('ed25519'))], [{ ...good, keyId: '' }], Array.from({ length: 9 }, () => jwtAuthorityOf(generateKey()))]) {
    await assert.rejects(publish(keys), { code: 'IDENTITY_JWT_INVALID' });
  }
  await assert.rejects(publish([good], { current: () => undefined, onChange: () => () => undefined }), { code: 'IDENTITY_DENIED' });
  assert.equal(root.root.bundles.get(EAST)?.sequence, sequence);
  assert.deepEqual(root.root.bundles.get(FEDERATION)?.jwtAuthorities, undefined);
  await east.close();
  await root.close();
  await dir.remove();
});
