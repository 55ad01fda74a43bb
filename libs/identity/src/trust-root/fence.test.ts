import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { spiffeIds, type TrustDomain } from '@isthmus/model';
import { svidFacts } from '@isthmus/pki';
import { call, type trust } from '@isthmus/rpc';
import { startTestCluster, startTestTrustRoot, testDir, type TestCluster, type TestTrustRoot, until } from '../testing.ts';

const WEST = 'west.acme.example' as TrustDomain;
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;
let west: TestCluster;

before(async () => {
  dir = await testDir('fence');
  root = await startTestTrustRoot(join(dir.path, 'root'));
  east = await startCluster('east', await root.token('east'));
  west = await startCluster('west', await root.token('west'));
});
after(async () => {
  await Promise.all([east.close(), west.close()]);
  await root.close();
  await dir.remove();
});

const startCluster = (cluster: string, token?: string): Promise<TestCluster> =>
  startTestCluster(join(dir.path, cluster), { cluster, trustRoot: { address: root.address }, token });
const fence = (cluster: string): Promise<unknown> =>
  call<trust.FenceClusterRequest, trust.FenceClusterResponse>(root.admin.fenceCluster.bind(root.admin), { cluster, reason: 'its key was seen elsewhere' }, { timeoutMs: 5_000 });
const unfence = (cluster: string): Promise<unknown> =>
  call<trust.UnfenceClusterRequest, trust.UnfenceClusterResponse>(root.admin.unfenceCluster.bind(root.admin), { cluster }, { timeoutMs: 5_000 });

test('a fenced cluster is nobody to the others and to the trust root, and comes back only with an intermediate issued afterwards', async () => {
  await until(() => east.authority.bundles.get(WEST)?.x509Authorities.length === 1, 'east trusts west');
  const before = west.authority.svids.current();
  assert.ok(before);
  const unspent = await root.token('west', { replace: true });
  await assert.rejects(fence('nobody'), { code: 'IDENTITY_CLUSTER_NOT_FOUND' });
  const { sequence = 0 } = root.root.bundles.get(WEST) ?? {};
  await fence('west');
  await fence('west');
  assert.deepEqual(root.root.bundles.get(WEST)?.x509Authorities, []);
  assert.equal(root.root.bundles.get(WEST)?.sequence, sequence + 1, 'twice is once');
  await until(() => east.authority.bundles.get(WEST)?.x509Authorities.length === 0, 'east trusts nothing of west');
  await west.authority.renewNow();
  assert.notEqual(west.authority.status().lastError, undefined, 'it gets no new intermediate');
  await assert.rejects(startCluster('west-2', unspent), { code: 'IDENTITY_TOKEN_REFUSED' }, 'its unspent tokens are void');
  await west.close();

  // The fence outlives a restart of the trust root.
  const { port } = root;
  await root.close();
  root = await startTestTrustRoot(join(dir.path, 'root'), { port });
  assert.deepEqual(root.root.bundles.get(WEST)?.x509Authorities, []);
  await until(() => east.authority.status().trustRootReachable, 'east hears the trust root again');

  await unfence('west');
  await assert.rejects(unfence('west'), { code: 'IDENTITY_CLUSTER_NOT_FOUND' });
  await until(() => east.authority.bundles.get(WEST)?.x509Authorities.length === 1 && east.authority.bundles.bans(WEST) !== undefined, 'east takes west again, but for what was');
  assert.ok(east.authority.bundles.bans(WEST)?.of(svidFacts(before.spiffeId, before.chain)), 'what hangs on the old intermediate stays revoked');
  assert.ok(root.root.bundles.bans(WEST)?.of(svidFacts(before.spiffeId, before.chain)), 'at the trust root too');
  west = await startTestCluster(join(dir.path, 'west-anew'), { cluster: 'west', trustRoot: { address: root.address }, token: await root.token('west', { replace: true }) });
  const now = west.authority.svids.current();
  assert.ok(now);
  assert.equal(east.authority.bundles.bans(WEST)?.of(svidFacts(now.spiffeId, now.chain)), undefined, 'the new one is good');
  await west.authority.renewNow();
  assert.equal(west.authority.status().lastError, undefined);

  const kinds = (await root.root.log.read(0, 1_000)).map((record) => record.kind);
  assert.ok(kinds.includes('cluster-fenced') && kinds.includes('cluster-unfenced'));
  assert.equal(spiffeIds.authority(WEST), `spiffe://${WEST}`);
});
