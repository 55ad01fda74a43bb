import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, verifySvid } from '@isthmus/pki';
import { call, type trust } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { FEDERATION, startTestTrustRoot, testDir, type TestTrustRoot, until } from '../testing.ts';
import type { AuthorityOptions } from './authority.ts';
import { openAuthority } from './cluster-authority.ts';

let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let count = 0;

before(async () => {
  dir = await testDir('authority');
  root = await startTestTrustRoot(join(dir.path, 'root'));
});
after(async () => {
  await root.close();
  await dir.remove();
});

function options(cluster: string, over: Partial<AuthorityOptions> = {}): AuthorityOptions {
  return {
    stateDir: join(dir.path, `${cluster}-${count++}`),
    cluster,
    federation: FEDERATION,
    trustRoot: { address: root.address },
    self: { locality: 'eu/a', gateways: ['127.0.0.1:15443'] },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    ...over,
  };
}

const code = (wanted: string) => (error: Error & { code?: string }) => (assert.equal(error.code, wanted, error.message), true);

test('a cluster joins by token, signs SVIDs its peers take, and starts again without the trust root', async () => {
  const lone = await startTestTrustRoot(join(dir.path, 'lone-root'));
  const config = options('solo', { trustRoot: { address: lone.address }, token: await lone.token('solo') });
  const authority = await openAuthority(config);
  const spiffeId = 'spiffe://solo.acme.example/ns/shop/svc/payments' as SpiffeId;
  const { chain } = authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId });
  const bundle = authority.bundles.get('solo.acme.example');
  const verdict = verifySvid({ chain, bundle, nowMs: Date.now() });
  assert.equal(verdict.ok && verdict.spiffeId, spiffeId);
  await authority.close();
  await lone.close();

  const resumed = await openAuthority({ ...config, token: undefined });
  assert.equal(resumed.status().trustRootReachable, false);
  assert.equal(resumed.status().intermediateExpiresAtMs, authority.status().intermediateExpiresAtMs);
  assert.deepEqual(resumed.members().map((m) => m.cluster), ['solo']);
  const again = resumed.sign({ publicKey: createPublicKey(generateKey()), spiffeId });
  assert.equal(verifySvid({ chain: again.chain, bundle: resumed.bundles.get('solo.acme.example'), nowMs: Date.now() }).ok, true);
  assert.equal(resumed.status().issued, 1);
  await resumed.close();
});

test('without state or token it says so, and so it does with a token already spent for an expired state', async () => {
  await assert.rejects(openAuthority(options('none')), code('IDENTITY_NO_IDENTITY'));
  const config = options('spent', { token: await root.token('spent') });
  await (await openAuthority(config)).close();
  const dayAfter = { ...systemClock, nowMs: () => Date.now() + 25 * 3_600_000 };
  await assert.rejects(openAuthority({ ...config, clock: dayAfter }), code('IDENTITY_NO_IDENTITY'));
});

test('a token for another cluster, and garbage, are refused before anybody is called', async () => {
  const trustRoot = { address: '127.0.0.1:1' };
  await assert.rejects(openAuthority(options('here', { token: await root.token('there'), trustRoot })), code('IDENTITY_TOKEN_REFUSED'));
  await assert.rejects(openAuthority(options('here', { token: 'rubbish', trustRoot })), code('IDENTITY_TOKEN_REFUSED'));
});

test('a server that is not the pinned trust root gets no token', async () => {
  const impostor = await startTestTrustRoot(join(dir.path, 'impostor'));
  await assert.rejects(openAuthority(options('wary', { token: await root.token('wary'), trustRoot: { address: impostor.address } })), code('RPC_PIN_MISMATCH'));
  await impostor.close();
});

test('the state of another cluster is refused', async () => {
  const config = options('first', { token: await root.token('first') });
  await (await openAuthority(config)).close();
  await assert.rejects(openAuthority({ ...config, cluster: 'second' }), code('IDENTITY_STATE_MISMATCH'));
});

test('files of an authority are for its owner only, and a readable one stops the start', async () => {
  const config = options('modest', { token: await root.token('modest') });
  const authority = await openAuthority(config);
  await authority.close();
  assert.equal((await stat(config.stateDir)).mode & 0o777, 0o700);
  for (const name of await readdir(config.stateDir)) {
    assert.equal((await stat(join(config.stateDir, name))).mode & 0o777, 0o600, name);
  }
  await chmod(join(config.stateDir, 'authority.state'), 0o640);
  await assert.rejects(openAuthority(config), code('STATE_EXPOSED'));
});

test('renewal gives a new intermediate and a new own SVID under it', async () => {
  const authority = await openAuthority(options('renewing', { token: await root.token('renewing') }));
  const first = authority.svids.current();
  await authority.renewNow();
  await until(() => authority.svids.current() !== first, 'own SVID under the new intermediate');
  const second = authority.svids.current();
  assert.notDeepEqual(second?.chain[1], first?.chain[1]);
  assert.equal(authority.status().lastError, undefined);
  await authority.close();
});

test('members and bundles come and go with the trust root’s word, and a removed cluster still serves itself', async () => {
  const left = await openAuthority(options('left', { token: await root.token('left') }));
  const heard: string[][] = [];
  left.onMembers((members) => heard.push(members.map((m) => m.cluster)));
  await until(() => left.status().trustRootReachable, 'the stream is open');
  const right = await openAuthority(options('right', { token: await root.token('right') }));
  await until(() => left.bundles.get('right.acme.example') !== undefined, 'the new member’s bundle');
  assert.ok(heard.some((names) => names.includes('right')));
  await until(() => right.members().some((m) => m.cluster === 'left'), 'the newcomer sees the other');

  const remove = (cluster: string) => call<trust.RemoveClusterRequest, trust.RemoveClusterResponse>(root.admin.removeCluster.bind(root.admin), { cluster }, { timeoutMs: 5_000 });
  await remove('right');
  await until(() => left.bundles.get('right.acme.example') === undefined, 'its bundle is gone');
  assert.ok(!left.members().some((m) => m.cluster === 'right'));
  assert.ok(right.bundles.get('right.acme.example'), 'its own bundle stays');
  right.sign({ publicKey: createPublicKey(generateKey()), spiffeId: spiffeIds.gateway('right.acme.example' as TrustDomain) });
  const expiresAtMs = right.status().intermediateExpiresAtMs;
  await right.renewNow();
  assert.equal(right.status().intermediateExpiresAtMs, expiresAtMs, 'nothing is renewed for it');
  assert.ok(right.status().lastError);
  await Promise.all([left.close(), right.close()]);
});

test('a cluster that was removed comes back with a new token, its bundle’s sequence going on', async () => {
  const config = options('back', { token: await root.token('back') });
  const authority = await openAuthority(config);
  const before = root.root.bundles.get('back.acme.example')?.sequence ?? 0;
  await authority.close();
  await call<trust.RemoveClusterRequest, trust.RemoveClusterResponse>(root.admin.removeCluster.bind(root.admin), { cluster: 'back' }, { timeoutMs: 5_000 });
  const again = await openAuthority({ ...config, token: await root.token('back') });
  await again.renewNow();
  assert.equal(again.status().lastError, undefined);
  assert.ok((root.root.bundles.get('back.acme.example')?.sequence ?? 0) > before);
  await again.close();
});

test('the trust root may restart on its port while an authority stays; it is heard again', async () => {
  const path = join(dir.path, 'restarting-root');
  let restarting = await startTestTrustRoot(path);
  const { port, address } = restarting;
  const authority = await openAuthority(options('patient', { trustRoot: { address }, token: await restarting.token('patient') }));
  await until(() => authority.status().trustRootReachable, 'heard');
  await restarting.close();
  await until(() => !authority.status().trustRootReachable, 'missed');
  assert.ok(authority.bundles.get('patient.acme.example'));
  restarting = await startTestTrustRoot(path, { port });
  await until(() => authority.status().trustRootReachable, 'heard again', 20_000);
  await authority.renewNow();
  assert.equal(authority.status().lastError, undefined);
  await authority.close();
  await restarting.close();
});

test('it signs for its own trust domain only, and never an authority’s name', async () => {
  const authority = await openAuthority(options('narrow', { token: await root.token('narrow') }));
  const publicKey = createPublicKey(generateKey());
  for (const spiffeId of ['spiffe://east.acme.example/gateway', 'spiffe://narrow.acme.example']) {
    assert.throws(() => authority.sign({ publicKey, spiffeId: spiffeId as SpiffeId }), code('IDENTITY_DENIED'));
  }
  await authority.close();
});

test('an SVID never outlives the intermediate it is signed with', async () => {
  const brief = await startTestTrustRoot(join(dir.path, 'brief-root'), { intermediateTtlMs: 30 * 60_000 });
  const authority = await openAuthority(options('brief', { trustRoot: { address: brief.address }, token: await brief.token('brief') }));
  const { chain } = authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId: spiffeIds.gateway(authority.trustDomain) });
  assert.ok(chain[0]);
  assert.ok(Date.parse(new X509Certificate(chain[0]).validTo) <= authority.status().intermediateExpiresAtMs);
  await authority.close();
  await brief.close();
});

test('after the end of its intermediate nothing is signed, and the status counts down to it', async () => {
  let offsetMs = 0;
  const clock = { ...systemClock, nowMs: () => Date.now() + offsetMs };
  const authority = await openAuthority(options('ending', { token: await root.token('ending'), clock }));
  assert.ok(authority.status().secondsToIdentityLoss > 23 * 3_600);
  offsetMs = 24 * 3_600_000 + 1;
  assert.equal(authority.status().secondsToIdentityLoss, 0);
  assert.throws(() => authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId: spiffeIds.gateway(authority.trustDomain) }), code('IDENTITY_EXPIRED'));
  await authority.close();
});
