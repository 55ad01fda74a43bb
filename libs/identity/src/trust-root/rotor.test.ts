import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { verifySvid } from '@isthmus/pki';
import { call, type trust } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import type { ProxyTrust } from '../authority/trust-report.ts';
import { joinOrResume } from '../proxy/join.ts';
import { startTestCluster, startTestTrustRoot, type TestCluster, testDir, type TestTrustRoot, until } from '../testing.ts';
import type { RotationDocument } from './rotor.ts';

let dir: Awaited<ReturnType<typeof testDir>>;
before(async () => {
  dir = await testDir('rotor');
});
after(() => dir.remove());

type Over = Partial<{ action: string; without: string[]; compromised: boolean; holdBefore: string }>;
async function rotate(root: TestTrustRoot, over: Over = {}): Promise<RotationDocument> {
  const request = { action: 'begin', without: [], compromised: false, holdBefore: '', ...over };
  const { document } = await call<trust.RotateRequest, trust.RotationStatus>(root.admin.rotate.bind(root.admin), request, { timeoutMs: 5_000 });
  return JSON.parse(document.toString()) as RotationDocument;
}
async function status(root: TestTrustRoot): Promise<RotationDocument> {
  const { document } = await call<trust.GetRotationRequest, trust.RotationStatus>(root.admin.getRotation.bind(root.admin), {}, { timeoutMs: 5_000 });
  return JSON.parse(document.toString()) as RotationDocument;
}
async function atStep(root: TestTrustRoot, step: string): Promise<void> {
  const reached = until(async () => (await status(root)).rotation?.step === step, `step ${step}`, 60_000);
  await reached.catch(async (error: Error) => assert.fail(`${error.message}; instead ${JSON.stringify(await status(root))}`));
}
const code = (wanted: string, text = /./) => (error: Error & { code?: string }) => (assert.equal(error.code, wanted, error.message), assert.match(error.message, text), true);

type World = { readonly stateDir: string; root: TestTrustRoot; readonly clusters: TestCluster[]; close(): Promise<void> };

/** A trust root with clusters east and west; `proxies` are what east says of its own. */
async function world(name: string, proxies: ProxyTrust[] = []): Promise<World> {
  const stateDir = join(dir.path, name, 'root');
  const root = await startTestTrustRoot(stateDir);
  const cluster = async (c: string) =>
    startTestCluster(join(dir.path, name, c), { cluster: c, trustRoot: { address: root.address }, token: await root.token(c), ...(c === 'east' && { proxies: async () => proxies }) });
  const clusters = [await cluster('east'), await cluster('west')];
  const made: World = {
    stateDir,
    root,
    clusters,
    close: async () => {
      await Promise.all(clusters.map((c) => c.close()));
      await made.root.close();
    },
  };
  return made;
}

async function restart(w: World): Promise<void> {
  const { port } = w.root;
  await w.root.close();
  w.root = await startTestTrustRoot(w.stateDir, { port });
}

const rootsOf = (c: TestCluster) => c.authority.rootPins();
const ownVerifies = (c: TestCluster, by: TestCluster) => {
  const svid = c.authority.svids.current();
  return svid !== undefined && verifySvid({ chain: svid.chain, bundle: by.authority.bundles.get(c.authority.trustDomain), nowMs: Date.now() }).ok;
};

test('a whole rotation: every bundle holds both roots before anything is signed by the new one, and one root at the end', async () => {
  const w = await world('whole');
  try {
    const before = w.root.root.rootSha256;
    await rotate(w.root, { holdBefore: 'switch' });
    await atStep(w.root, 'switch');
    const [east, west] = w.clusters as [TestCluster, TestCluster];
    for (const c of w.clusters) assert.deepEqual([rootsOf(c).length, c.authority.rootSha256], [2, before]);
    assert.equal(w.root.root.rootSha256, before);
    await rotate(w.root, { action: 'resume' });
    await atStep(w.root, 'done');
    const after = w.root.root.rootSha256;
    assert.notEqual(after, before);
    await until(() => w.clusters.every((c) => rootsOf(c).join() === after), 'one root everywhere');
    for (const c of w.clusters) assert.equal(c.authority.rootSha256, after);
    assert.ok(ownVerifies(east, west) && ownVerifies(west, east));
    await until(() => !existsSync(join(w.stateDir, 'root.key')), 'the old key is destroyed');
    // And a second one from there.
    await restart(w);
    await rotate(w.root);
    await atStep(w.root, 'done');
    assert.notEqual(w.root.root.rootSha256, after);
  } finally {
    await w.close();
  }
});

test('a trust root that is stopped at any step goes on where it was', async () => {
  const w = await world('resume');
  try {
    await rotate(w.root, { holdBefore: 'distribute' });
    for (const [here, next] of [['distribute', 'prove'], ['prove', 'switch'], ['switch', 'reissue'], ['reissue', 'prove-unused'], ['prove-unused', 'retire'], ['retire', '']] as const) {
      await atStep(w.root, here);
      await restart(w);
      assert.equal((await status(w.root)).rotation?.step, here);
      await rotate(w.root, { action: 'resume', holdBefore: next });
    }
    await atStep(w.root, 'done');
    await until(() => w.clusters.every((c) => rootsOf(c).length === 1 && c.authority.rootSha256 === w.root.root.rootSha256), 'one root everywhere');
  } finally {
    await w.close();
  }
});

test('a process that did not acknowledge stops it, by name; named, it is passed, and another name is refused', async () => {
  const silent: ProxyTrust = { kind: 'agent', name: 'vm-9', isConnected: false, heardAtMs: undefined, facts: undefined };
  const w = await world('silent', [silent]);
  try {
    await rotate(w.root);
    await until(async () => ((await status(w.root)).rotation?.waitingFor ?? []).some((x) => x.name === 'east/agent/vm-9'), 'waits for vm-9', 20_000);
    assert.equal((await status(w.root)).rotation?.step, 'prove');
    await assert.rejects(rotate(w.root, { action: 'without', without: ['east/agent/vm-8'] }), code('IDENTITY_ROTATION_REFUSED', /vm-8/));
    await rotate(w.root, { action: 'without', without: ['east/agent/vm-9'] });
    await atStep(w.root, 'done');
    assert.deepEqual((await status(w.root)).rotation?.cutOff, ['east/agent/vm-9']);
  } finally {
    await w.close();
  }
});

test('rolled back after the switch, everything hangs on the old root again and the new key is gone', async () => {
  const w = await world('back');
  try {
    const before = w.root.root.rootSha256;
    await rotate(w.root, { holdBefore: 'retire' });
    await atStep(w.root, 'retire');
    assert.ok(w.clusters.every((c) => c.authority.rootSha256 !== before));
    await rotate(w.root, { action: 'rollback' });
    await atStep(w.root, 'done');
    await until(() => w.clusters.every((c) => rootsOf(c).join() === before && c.authority.rootSha256 === before), 'the old root everywhere');
    assert.equal(w.root.root.rootSha256, before);
    const { id } = (await status(w.root)).rotation ?? { id: '' };
    await until(() => !existsSync(join(w.stateDir, `root-${id}.key`)), 'the new key is destroyed');
  } finally {
    await w.close();
  }
});

test('tokens made before the rotation and during it let in until the old root retires; after it an old one is refused', async () => {
  const w = await world('tokens');
  try {
    const [east] = w.clusters as [TestCluster];
    const joinToken = async (agent: string) => (await east.issuance.createJoinToken({ agent, role: 'agent', services: [] })).token;
    const join_ = async (name: string, token: string) => {
      const identity = await joinOrResume({ stateDir: join(dir.path, 'tokens', name), token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: silentLog(), joinTimeoutMs: 1_000 });
      await identity.close();
      return identity.spiffeId;
    };
    const cluster = async (name: string, token: string) => {
      const made = await startTestCluster(join(dir.path, 'tokens', name), { cluster: name, trustRoot: { address: w.root.address }, token, joinTimeoutMs: 1_000 });
      w.clusters.push(made);
    };
    const old = { a: await joinToken('a'), b: await joinToken('b'), c: await joinToken('c'), north: await w.root.token('north'), south: await w.root.token('south') };
    await rotate(w.root, { holdBefore: 'switch' });
    await atStep(w.root, 'switch');
    assert.equal(await join_('a', old.a), 'spiffe://east.acme.example/agent/a' as SpiffeId);
    await rotate(w.root, { action: 'resume', holdBefore: 'retire' });
    await atStep(w.root, 'retire');
    assert.equal(await join_('b', old.b), 'spiffe://east.acme.example/agent/b');
    assert.equal(await join_('d', await joinToken('d')), 'spiffe://east.acme.example/agent/d', 'a token that pins the new root');
    await cluster('north', old.north);
    await cluster('norther', await w.root.token('norther'));
    await rotate(w.root, { action: 'resume' });
    await atStep(w.root, 'done');
    await until(() => rootsOf(east).length === 1, 'east has one root');
    await until(() => !!east.authority.svids.current() && east.authority.svids.current()?.chain.length === 2, 'the link is gone');
    await assert.rejects(join_('c', old.c), code('RPC_PIN_MISMATCH'));
    await assert.rejects(cluster('south', old.south), code('RPC_PIN_MISMATCH'));
    assert.equal(await join_('e', await joinToken('e')), 'spiffe://east.acme.example/agent/e');
  } finally {
    await w.close();
  }
});

test('on a full disk no step is done; it is tried again until there is room', async () => {
  const w = await world('full');
  try {
    await rotate(w.root, { holdBefore: 'distribute' });
    await atStep(w.root, 'distribute');
    // A folder in the place of the temporary file: no write can begin.
    const blocker = join(w.stateDir, 'trust-root.state.new');
    await mkdir(join(blocker, 'x'), { recursive: true });
    await assert.rejects(rotate(w.root, { action: 'resume' }), code('STATE_UNWRITABLE'));
    assert.equal(w.root.root.isDurable(), false);
    assert.deepEqual([(await status(w.root)).rotation?.step, w.clusters.map((c) => rootsOf(c).length)], ['distribute', [1, 1]]);
    await rm(blocker, { recursive: true });
    await rotate(w.root, { action: 'resume' });
    await atStep(w.root, 'done');
  } finally {
    await w.close();
  }
});

test('a cluster that was away while a compromised root was revoked is listed as cut off, is refused, and joins again with a new token', async () => {
  const w = await world('away');
  try {
    const [, west] = w.clusters as [TestCluster, TestCluster];
    const before = w.root.root.rootSha256;
    w.clusters.pop();
    await west.close();
    await rotate(w.root, { compromised: true });
    await atStep(w.root, 'done');
    const { rotation, roots } = await status(w.root);
    assert.deepEqual(rotation?.cutOff, ['west/control-plane']);
    assert.deepEqual(roots.map((r) => [r.sha256 === before, r.state]), [[false, 'signing'], [true, 'revoked']]);
    const stateDir = join(dir.path, 'away', 'west');
    const start = async (token?: string) => startTestCluster(stateDir, { cluster: 'west', trustRoot: { address: w.root.address }, token });
    const lost = await start();
    await until(() => lost.authority.status().lastError !== undefined, 'it is refused');
    assert.equal(lost.authority.status().trustRootReachable, false);
    await lost.close();
    await rm(join(stateDir, 'authority.state'));
    w.clusters.push(await start(await w.root.token('west', { replace: true })));
    await until(() => w.clusters.every((c) => rootsOf(c).join() === w.root.root.rootSha256), 'one root everywhere');
    assert.ok(ownVerifies(w.clusters[1] as TestCluster, w.clusters[0] as TestCluster));
  } finally {
    await w.close();
  }
});

test('a root whose key is gone does not sign: the step is tried again and says why, and can be rolled back', async () => {
  const w = await world('lost-key');
  try {
    await rotate(w.root, { holdBefore: 'switch' });
    await atStep(w.root, 'switch');
    const { id } = (await status(w.root)).rotation ?? { id: '' };
    await rm(join(w.stateDir, `root-${id}.key`));
    await rotate(w.root, { action: 'resume' });
    await until(async () => /missing/.test((await status(w.root)).rotation?.lastError ?? ''), 'says that the key is missing');
    await rotate(w.root, { action: 'rollback' });
    await atStep(w.root, 'done');
  } finally {
    await w.close();
  }
});
