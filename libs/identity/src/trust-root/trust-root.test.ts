import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { spiffeIds, type SpiffeId } from '@isthmus/model';
import { generateKey, makeCsr, verifySvid, openBundleSet, fixedSvidSource, makeX509Svid, signSvid, trustDomainOfCert } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { call, openChannel, trust } from '@isthmus/rpc';
import { silentLog } from '@isthmus/telemetry';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { FEDERATION, startTestTrustRoot, testDir, type TestTrustRoot } from '../testing.ts';
import { openTrustRoot } from './trust-root.ts';

const east = 'east.acme.example' as Parameters<typeof spiffeIds.authority>[0];
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;

before(async () => {
  dir = await testDir('trust-root');
  root = await startTestTrustRoot(dir.path);
});
after(async () => {
  await root.close();
  await dir.remove();
});

async function joinWith(token: string, over: { readonly cluster?: string; readonly csr?: Buffer; readonly trustRoot?: TestTrustRoot } = {}) {
  const { cluster = 'east', trustRoot = root } = over;
  const channel = openChannel({
    address: trustRoot.address,
    serverName: `trust-root.isthmus.${FEDERATION}`,
    expectedId: spiffeIds.trustRoot(FEDERATION),
    bundles: trustRoot.root.bundles,
    log: silentLog(),
  });
  try {
    const client = channel.client(trust.TrustRootClient);
    const key = generateKey();
    const trustDomain = `${cluster}.${FEDERATION}`;
    const csr = over.csr ?? makeCsr({ key, spiffeId: `spiffe://${trustDomain}` as SpiffeId });
    const self = { cluster, trustDomain, locality: '', gateways: [] };
    const answer = await call<trust.JoinClusterRequest, trust.IntermediateResponse>(client.joinCluster.bind(client), { token, csr, self }, { timeoutMs: 5_000 });
    return { ...answer, key };
  } finally {
    channel.close();
  }
}

const withCode = (code: string, pattern: RegExp = /./) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
  return true;
};

test('a token gets a cluster an intermediate that signs for its own trust domain only', async () => {
  const { chain, federation, key } = await joinWith(await root.token('east'));
  const [intermediate, rootCert] = chain;
  assert.ok(intermediate && rootCert);
  const named = trustDomainOfCert(intermediate);
  assert.deepEqual(named, { ok: true, value: `spiffe://${east}` });
  assert.deepEqual(federation?.members.map((m) => m.cluster), ['east']);
  const issuer = { cert: intermediate, key };
  const leafKey = generateKey();
  const leaf = (spiffeId: string) => signSvid({ issuer, publicKey: createPublicKey(leafKey), spiffeId: spiffeId as SpiffeId, nowMs: Date.now(), ttlMs: 60_000 });
  const verdictOf = (spiffeId: string, trustDomain: string) =>
    verifySvid({
      chain: [leaf(spiffeId), intermediate],
      bundle: { trustDomain, sequence: 1, refreshHintSeconds: 300, x509Authorities: [rootCert.toString('base64')] },
      nowMs: Date.now(),
    });
  assert.equal(verdictOf(`spiffe://${east}/gateway`, east).ok, true);
  // The same root stands behind west's bundle, and still east's intermediate cannot name west.
  const foreign = verdictOf('spiffe://west.acme.example/gateway', 'west.acme.example');
  assert.ok(!foreign.ok && ['name-constraint', 'issuer-mismatch'].includes(foreign.reason), JSON.stringify(foreign));
});

test('a token is refused the second time, after its end, for another cluster and when it is garbage, with one code', async () => {
  const used = await root.token('used');
  await joinWith(used, { cluster: 'used' });
  await assert.rejects(joinWith(used, { cluster: 'used' }), withCode('IDENTITY_TOKEN_REFUSED', /used at/));
  await assert.rejects(joinWith(await root.token('north'), { cluster: 'south' }), withCode('IDENTITY_TOKEN_REFUSED', /north/));
  await assert.rejects(joinWith('rubbish', { cluster: 'south' }), withCode('IDENTITY_TOKEN_REFUSED', /garbage/));
  const other = await testDir('other-root');
  const otherRoot = await startTestTrustRoot(other.path);
  try {
    await assert.rejects(joinWith(await otherRoot.token('south'), { cluster: 'south' }), withCode('IDENTITY_TOKEN_REFUSED', /another root/));
  } finally {
    await otherRoot.close();
    await other.remove();
  }
  const names = (await call<trust.GetFederationRequest, trust.FederationView>(root.admin.getFederation.bind(root.admin), {}, { timeoutMs: 5_000 })).members.map((m) => m.cluster);
  assert.ok(!names.includes('north') && !names.includes('south'));
});

test('an expired token is refused', async () => {
  const late = await testDir('late-root');
  let nowMs = Date.now();
  const opened = await openTrustRoot({ stateDir: late.path, federation: FEDERATION, clock: { ...systemClock, nowMs: () => nowMs }, random: systemRandom, log: silentLog() });
  await opened.close();
  const lateRoot = await startTestTrustRoot(late.path, { clock: { ...systemClock, nowMs: () => nowMs } });
  try {
    const token = await lateRoot.token('south', { ttlSeconds: 60 });
    nowMs += 61_000;
    await assert.rejects(joinWith(token, { cluster: 'south', trustRoot: lateRoot }), withCode('IDENTITY_TOKEN_REFUSED', /expired at/));
  } finally {
    await lateRoot.close();
    await late.remove();
  }
});

test('a duplicate cluster name is refused and the member untouched, unless the token was made to replace it', async () => {
  await joinWith(await root.token('twin'), { cluster: 'twin' });
  await assert.rejects(root.token('twin'), withCode('IDENTITY_CLUSTER_EXISTS'));
  const replaced = await joinWith(await root.token('twin', { replace: true }), { cluster: 'twin' });
  assert.equal(replaced.federation?.members.filter((m) => m.cluster === 'twin').length, 1);
});

test('of two tokens made before either was used, the second cannot take the name', async () => {
  const [first, second] = [await root.token('race'), await root.token('race')];
  await joinWith(first, { cluster: 'race' });
  await assert.rejects(joinWith(second, { cluster: 'race' }), withCode('IDENTITY_CLUSTER_EXISTS'));
});

test('a token for a name that is no cluster name is not made', async () => {
  for (const cluster of ['', 'East', 'a.b', '-a', 'x'.repeat(33)]) {
    await assert.rejects(root.token(cluster), withCode('IDENTITY_TOKEN_INVALID'), cluster);
  }
});

test('a signing request for another name is refused and does not spend the token', async () => {
  const token = await root.token('careful');
  const csr = makeCsr({ key: generateKey(), spiffeId: 'spiffe://east.acme.example' as SpiffeId });
  await assert.rejects(joinWith(token, { cluster: 'careful', csr }), withCode('IDENTITY_CSR_REFUSED', /another name/));
  await assert.rejects(joinWith(token, { cluster: 'careful', csr: Buffer.from('nonsense') }), withCode('IDENTITY_CSR_REFUSED'));
  await joinWith(token, { cluster: 'careful' });
});

test('only a member’s control plane renews, and not after it was removed', async () => {
  const { chain, key } = await joinWith(await root.token('leaver'), { cluster: 'leaver' });
  const [intermediate] = chain;
  assert.ok(intermediate);
  const renewAs = async (path: string): Promise<trust.IntermediateResponse> => {
    const leafKey = generateKey();
    const spiffeId = `spiffe://leaver.acme.example/${path}` as SpiffeId;
    const leaf = signSvid({ issuer: { cert: intermediate, key }, publicKey: createPublicKey(leafKey), spiffeId, nowMs: Date.now(), ttlMs: 60_000 });
    const svids = fixedSvidSource(makeX509Svid([leaf, intermediate], leafKey));
    const bundles = openBundleSet([...root.root.bundles.all()]);
    const channel = openChannel({ address: root.address, serverName: 'x', expectedId: spiffeIds.trustRoot(FEDERATION), svids, bundles, log: silentLog() });
    try {
      const client = channel.client(trust.TrustRootClient);
      const csr = makeCsr({ key: generateKey(), spiffeId: 'spiffe://leaver.acme.example' as SpiffeId });
      return await call<trust.RenewIntermediateRequest, trust.IntermediateResponse>(client.renewIntermediate.bind(client), { csr, self: undefined }, { timeoutMs: 2_000 });
    } finally {
      channel.close();
    }
  };
  await assert.rejects(renewAs('gateway'), withCode('IDENTITY_DENIED'));
  const renewed = await renewAs('control-plane');
  assert.notDeepEqual(renewed.chain[0], intermediate);
  await call<trust.RemoveClusterRequest, trust.RemoveClusterResponse>(root.admin.removeCluster.bind(root.admin), { cluster: 'leaver' }, { timeoutMs: 5_000 });
  await assert.rejects(renewAs('control-plane'));
  assert.equal(root.root.bundles.get('leaver.acme.example'), undefined);
});

test('a certificate of another root is nobody here, even with a member’s names in it', async () => {
  await joinWith(await root.token('robbed'), { cluster: 'robbed' });
  const foreign = testAuthority({ federation: FEDERATION, cluster: 'robbed' });
  const svids = fixedSvidSource(foreign.issue('spiffe://robbed.acme.example/control-plane'));
  const channel = openChannel({ address: root.address, serverName: 'x', expectedId: spiffeIds.trustRoot(FEDERATION), svids, bundles: root.root.bundles, log: silentLog() });
  try {
    const client = channel.client(trust.TrustRootClient);
    const csr = makeCsr({ key: generateKey(), spiffeId: 'spiffe://robbed.acme.example' as SpiffeId });
    await assert.rejects(call<trust.RenewIntermediateRequest, trust.IntermediateResponse>(client.renewIntermediate.bind(client), { csr, self: undefined }, { timeoutMs: 2_000 }));
  } finally {
    channel.close();
  }
});

test('every intermediate is in the journal on disk by the time it is handed out', async () => {
  const { chain } = await joinWith(await root.token('audited'), { cluster: 'audited' });
  const [intermediate] = chain;
  assert.ok(intermediate);
  const state = await readFile(join(dir.path, 'trust-root.state'), 'utf8');
  assert.ok(state.includes(new X509Certificate(intermediate).serialNumber));
});

test('every change of tokens, members, certificates and bundles is in the log, in the order it was made, with no secret', async () => {
  const { records: from } = root.root.log.head();
  const token = await root.token('logged');
  await root.token('logged');
  await joinWith(token, { cluster: 'logged' });
  await call<trust.RemoveClusterRequest, trust.RemoveClusterResponse>(root.admin.removeCluster.bind(root.admin), { cluster: 'logged' }, { timeoutMs: 5_000 });
  const records = await root.root.log.read(from, 100);
  assert.deepEqual(
    records.map((record) => record.kind),
    ['cluster-token-created', 'cluster-token-created', 'cluster-token-spent', 'intermediate-signed', 'member-joined', 'bundle', 'cluster-token-void', 'member-removed', 'bundle-removed'],
  );
  assert.equal(JSON.stringify(records).includes(token.split('.').at(-1) ?? token), false);
});

test('key and state are 0600, and the state holds no token', async () => {
  const token = await root.token('hushed');
  for (const name of ['root.key', 'trust-root.state']) {
    const path = join(dir.path, name);
    assert.equal((await stat(path)).mode & 0o777, 0o600, name);
    assert.ok(!(await readFile(path, 'utf8')).includes(token));
  }
});

test('a key file others can read stops the start', async () => {
  const exposed = await testDir('exposed');
  const options = { stateDir: exposed.path, federation: FEDERATION, clock: systemClock, random: systemRandom, log: silentLog() };
  await (await openTrustRoot(options)).close();
  await chmod(join(exposed.path, 'root.key'), 0o644);
  await assert.rejects(openTrustRoot(options), withCode('STATE_EXPOSED', /root\.key/));
  await exposed.remove();
});

test('a state file cut short, a lost key and another federation each stop the start with their reason', async () => {
  const broken = await testDir('broken');
  const options = { stateDir: broken.path, federation: FEDERATION, clock: systemClock, random: systemRandom, log: silentLog() };
  await (await openTrustRoot(options)).close();
  await assert.rejects(openTrustRoot({ ...options, federation: 'other.example' as typeof FEDERATION }), withCode('IDENTITY_STATE_MISMATCH', /other\.example/));
  const statePath = join(broken.path, 'trust-root.state');
  const { size } = await stat(statePath);
  await truncate(statePath, size - 10);
  await assert.rejects(openTrustRoot(options), withCode('STATE_CORRUPT', /trust-root\.state/));
  assert.equal((await stat(statePath)).size, size - 10, 'the damaged file is left for repair');
  await rm(join(broken.path, 'root.key'));
  await rm(statePath);
  await assert.rejects(openTrustRoot(options), withCode('IDENTITY_STATE_MISMATCH', /the state was lost/));
  await rm(join(broken.path, 'transparency.log'));
  await (await openTrustRoot(options)).close();
  await rm(join(broken.path, 'root.key'));
  await assert.rejects(openTrustRoot(options), withCode('IDENTITY_STATE_MISMATCH', /root\.key/));
  await broken.remove();
});

test('a state that cannot be written refuses to issue, keeps the old state, and issues again afterwards', async () => {
  const full = await testDir('full');
  const fullRoot = await startTestTrustRoot(full.path);
  try {
    const token = await fullRoot.token('south');
    const before = await readFile(join(full.path, 'trust-root.state'), 'utf8');
    // A folder in the place of the temporary file: no write can begin.
    const blocker = join(full.path, 'trust-root.state.new');
    await mkdir(join(blocker, 'x'), { recursive: true });
    await assert.rejects(joinWith(token, { cluster: 'south', trustRoot: fullRoot }), withCode('STATE_UNWRITABLE'));
    assert.equal(fullRoot.root.isDurable(), false);
    assert.equal(await readFile(join(full.path, 'trust-root.state'), 'utf8'), before);
    assert.equal(fullRoot.root.bundles.get('south.acme.example'), undefined);
    await rm(blocker, { recursive: true });
    await joinWith(token, { cluster: 'south', trustRoot: fullRoot });
    assert.equal(fullRoot.root.isDurable(), true);
  } finally {
    await fullRoot.close();
    await full.remove();
  }
});

test('an RSA root signs for EC clusters', async () => {
  const rsa = await testDir('rsa');
  const rsaRoot = await startTestTrustRoot(rsa.path, { keyKind: 'rsa-3072' });
  try {
    const { chain } = await joinWith(await rsaRoot.token('south'), { cluster: 'south', trustRoot: rsaRoot });
    assert.ok(chain[1]);
    assert.equal(new X509Certificate(chain[1]).publicKey.asymmetricKeyType, 'rsa');
  } finally {
    await rsaRoot.close();
    await rsa.remove();
  }
});
