import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { open, readFile, truncate, stat, appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { joinOrResume } from '../proxy/join.ts';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { startTestCluster, startTestTrustRoot, testDir, type TestCluster, type TestTrustRoot, until } from '../testing.ts';
import type { LogRecord } from '../transparency-log/record.ts';
import { verifyLog } from '../transparency-log/verify.ts';

let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;

before(async () => {
  dir = await testDir('cluster-log');
  root = await startTestTrustRoot(join(dir.path, 'root'));
  east = await startEast(await root.token('east'));
});
after(async () => {
  await east.close();
  await root.close();
  await dir.remove();
});

const startEast = (token?: string): Promise<TestCluster> => startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token });

async function logOf(roots?: readonly Buffer[]): Promise<readonly LogRecord[]> {
  const records: LogRecord[] = [];
  const file = await open(east.authority.ledger.path, 'r');
  const verdict = await verifyLog(file, { roots, onRecord: (record) => records.push(record) }).finally(() => file.close());
  assert.ok(verdict.ok, JSON.stringify(verdict));
  return records;
}

const kindsOf = (records: readonly LogRecord[]): string[] => records.map((record) => record.kind);
const joinAs = (token: string, name: string) =>
  joinOrResume({ stateDir: join(dir.path, name), token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: silentLog() });

test('a cluster’s log has its intermediate, what it heard of the federation, and each token and entry, and no secret', async () => {
  const { issuance, authority } = east;
  const made = await issuance.createJoinToken({ agent: 'vm-1', role: 'agent', services: ['shop/cart'] });
  const agent = await joinAs(made.token, 'vm-1');
  await agent.close();
  const other = await issuance.createJoinToken({ agent: 'vm-2', role: 'agent', services: [] });
  await issuance.deleteJoinToken(other.id);
  assert.equal(await issuance.deleteEntry('agent', 'vm-1'), true);
  const west = await startTestCluster(join(dir.path, 'west'), { cluster: 'west', trustRoot: { address: root.address }, token: await root.token('west') });
  await until(() => authority.members().length === 2, 'west is heard of');
  await west.close();
  await authority.ledger.observe();
  await authority.ledger.checkpoint();
  const [, intermediate, rootCert] = [...(authority.svids.current()?.chain ?? []), Buffer.from(authority.bundles.get('acme.example')?.x509Authorities[0] ?? '', 'base64')];
  assert.ok(intermediate && rootCert);
  const records = await logOf([rootCert]);
  assert.deepEqual(kindsOf(records).slice(0, 2), ['log-opened', 'intermediate-received']);
  assert.equal(records[1]?.facts['serial'], new X509Certificate(intermediate).serialNumber);
  const ofTokens = kindsOf(records).filter((kind) => /^(?:join-token|entry)-/.test(kind));
  assert.deepEqual(ofTokens, ['join-token-created', 'join-token-spent', 'entry-created', 'join-token-created', 'join-token-deleted', 'entry-removed']);
  assert.ok(records.some((r) => r.kind === 'bundle' && r.facts['trustDomain'] === 'west.acme.example'));
  assert.ok(records.some((r) => r.kind === 'member-joined' && r.facts['cluster'] === 'west'));
  const text = await readFile(authority.ledger.path, 'utf8');
  for (const { token } of [made, other]) assert.ok(!text.includes(token) && !text.includes(token.split('.').at(-1) ?? token));
});

test('a renewal is in the log, and a restart repeats nothing', async () => {
  await east.authority.renewNow();
  await east.authority.ledger.observe();
  const before = kindsOf(await logOf());
  assert.equal(before.filter((kind) => kind === 'intermediate-received').length, 2);
  const { records } = east.authority.status().log;
  await east.close();
  east = await startEast();
  await until(() => east.authority.status().trustRootReachable, 'the trust root is heard');
  await east.authority.ledger.observe();
  assert.equal(east.authority.ledger.head().records, records, 'nothing new happened');
});

test('while the log cannot be written, no right is given, each member keeps what it has, and what was heard is written later', async () => {
  const { issuance, authority } = east;
  const made = await issuance.createJoinToken({ agent: 'vm-3', role: 'agent', services: [] });
  const waiting = await issuance.createJoinToken({ agent: 'vm-4', role: 'agent', services: [] });
  const agent = await joinAs(made.token, 'vm-3');
  const { size } = await stat(authority.ledger.path);
  // The same refusal as a full disk gives: what is on disk is not what this process wrote.
  await appendFile(authority.ledger.path, 'x');
  await assert.rejects(issuance.createJoinToken({ agent: 'vm-5', role: 'agent', services: [] }), { code: 'IDENTITY_LOG_UNWRITABLE' });
  await assert.rejects(issuance.deleteEntry('agent', 'vm-3'), { code: 'IDENTITY_LOG_UNWRITABLE' });
  assert.equal((await issuance.listEntries()).some((entry) => entry.agent === 'vm-3'), true, 'and the entry is there');
  assert.equal((await issuance.listJoinTokens()).some((token) => token.agent === 'vm-5'), false);
  assert.equal(authority.status().log.isWritable, false);
  await agent.renewNow();
  assert.equal(agent.status().lastError, undefined, 'renewal goes on');
  await authority.renewNow();
  assert.equal(authority.status().lastError, undefined, 'the intermediate too');
  await truncate(authority.ledger.path, size);
  const late = await joinAs(waiting.token, 'vm-4');
  await until(() => authority.ledger.observe().then(() => authority.status().log.isWritable), 'the log takes records again');
  await Promise.all([agent.close(), late.close()]);
  const kinds = kindsOf(await logOf());
  assert.equal(kinds.filter((kind) => kind === 'intermediate-received').length, 3, 'the renewal that could not be written is there');
});
