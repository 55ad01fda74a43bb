// Row 43 with real SVIDs: a machine's state is copied to another, and both renew.
import assert from 'node:assert/strict';
import { cp, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { call, identity } from '@isthmus/rpc';
import { generateKey, makeCsr } from '@isthmus/pki';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { type Identity, joinOrResume } from '../proxy/join.ts';
import { recordingLog, startTestCluster, startTestTrustRoot, type TestCluster, testDir, type TestTrustRoot } from '../testing.ts';

let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
before(async () => {
  dir = await testDir('clones');
  root = await startTestTrustRoot(join(dir.path, 'root'));
});
after(async () => {
  await root.close();
  await dir.remove();
});

async function clusterWith(cluster: string, clones: 'flag' | 'block') {
  const audit = recordingLog();
  const made = await startTestCluster(join(dir.path, cluster), { cluster, trustRoot: { address: root.address }, token: await root.token(cluster), attestation: { clones }, log: audit.log });
  return { cluster: made, records: () => audit.lines.filter((line) => line.includes('"event":"clone"')) };
}

/** An agent and the copy of its disk that another machine starts from. */
async function machineAndClone(at: TestCluster): Promise<readonly [Identity, Identity]> {
  const stateDir = await mkdtemp(join(dir.path, 'vm-'));
  const parts = { server: { address: at.address }, clock: systemClock, random: systemRandom, log: silentLog() };
  const { token } = await at.issuance.createJoinToken({ agent: 'vm-1', role: 'agent', services: [] });
  const machine = await joinOrResume({ stateDir, token, ...parts });
  await machine.renewNow();
  await cp(stateDir, `${stateDir}-clone`, { recursive: true });
  return [machine, await joinOrResume({ stateDir: `${stateDir}-clone`, ...parts })];
}

test('flagged by default: both go on, and the second holder is audited and listed at each of its renewals', async () => {
  const { cluster, records } = await clusterWith('flagging', 'flag');
  const [machine, clone] = await machineAndClone(cluster);
  for (let i = 0; i < 3; i++) await machine.renewNow();
  assert.deepEqual(records(), [], 'one holder renews in peace');
  const before = clone.svids.current();
  await clone.renewNow();
  await clone.renewNow();
  assert.notEqual(clone.svids.current(), before);
  assert.equal(records().length, 2);
  assert.match(records()[0] ?? '', /"outcome":"flagged","agent":"vm-1","serial":"[0-9A-F]+","times":1,"address":"127\.0\.0\.1"/);
  const [entry] = await cluster.issuance.listEntries();
  assert.deepEqual([entry?.clones, entry?.clonedFrom], [2, '127.0.0.1']);
  await Promise.all([machine.close(), clone.close()]);
  await cluster.close();
});

test('blocked by policy: the one whose SVID was renewed by another gets nothing, and is told', async () => {
  const { cluster, records } = await clusterWith('blocking', 'block');
  const [machine, clone] = await machineAndClone(cluster);
  await clone.renewNow();
  await clone.renewNow();
  const before = machine.svids.current();
  await machine.renewNow();
  assert.equal(machine.svids.current(), before);
  assert.match(machine.status().lastError ?? '', /renewed by another holder/);
  assert.match(records()[0] ?? '', /"outcome":"refused"/);
  await Promise.all([machine.close(), clone.close()]);
  await cluster.close();
});

test('answers that were lost are no clones: an SVID may be asked for again until its successor is used', async () => {
  const { cluster, records } = await clusterWith('lossy', 'block');
  const { token } = await cluster.issuance.createJoinToken({ agent: 'vm-1', role: 'agent', services: [] });
  const machine = await joinOrResume({ stateDir: await mkdtemp(join(dir.path, 'vm-')), token, server: { address: cluster.address }, clock: systemClock, random: systemRandom, log: silentLog() });
  const client = machine.channel().client(identity.IssuanceClient);
  // The answers of these are thrown away, as by a connection that breaks.
  for (let i = 0; i < 3; i++) await call<identity.RenewRequest, identity.SvidResponse>(client.renew.bind(client), { csr: makeCsr({ key: generateKey(), spiffeId: machine.spiffeId }) }, { timeoutMs: 5_000 });
  const before = machine.svids.current();
  await machine.renewNow();
  await machine.renewNow();
  assert.notEqual(machine.svids.current(), before);
  assert.deepEqual([machine.status().lastError, records()], [undefined, []]);
  await machine.close();
  await cluster.close();
});
