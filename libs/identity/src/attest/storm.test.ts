// A thousand attempts at once from one address, over real connections, while a machine at another address joins.
import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsthmusError, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, makeCsr, makeToken } from '@isthmus/pki';
import { call, identity, openChannel } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { joinOrResume } from '../proxy/join.ts';
import { FEDERATION, recordingLog, startTestCluster, startTestTrustRoot, testDir, until } from '../testing.ts';

const TD = 'east.acme.example' as TrustDomain;

/** Another machine’s way to the control plane: whoever takes it comes from 127.0.0.2. */
async function otherAddress(port: number): Promise<{ readonly address: string; close(): void }> {
  const server = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' });
    for (const [from, to] of [[near, far], [far, near]] as const) from.on('error', () => to.destroy()).pipe(to);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

test('a storm of bad tokens is held back with a time to come again, another address is served, and the log stays small', { timeout: 120_000, skip: process.platform === 'linux' ? false : 'only Linux answers on all of 127.0.0.0/8' }, async (t) => {
  const dir = await testDir('storm');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const audit = recordingLog();
  const east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), log: audit.log });
  const other = await otherAddress(east.port);
  const { token } = await east.issuance.createJoinToken({ agent: 'calm', role: 'agent', services: [] });
  const csr = makeCsr({ key: generateKey() });
  const channels = Array.from({ length: 20 }, () => openChannel({ address: east.address, serverName: `control-plane.isthmus.${TD}`, expectedId: spiffeIds.controlPlane(TD), bundles: east.authority.bundles, log: silentLog() }));
  const clients = channels.map((channel) => channel.client(identity.IssuanceClient));
  const attempt = (i: number) => {
    const client = clients[i % clients.length] ?? assert.fail();
    return call<identity.JoinRequest, identity.SvidResponse>(client.join.bind(client), { evidence: { $case: 'token', value: `ijt1.guess-${i}` }, csr }, { timeoutMs: 60_000 });
  };
  const beginMs = systemClock.monotonicMs();
  const storm = Promise.allSettled(Array.from({ length: 1_000 }, (_, i) => attempt(i)));
  const calm = await joinOrResume({ stateDir: await mkdtemp(join(dir.path, 'vm-')), token, server: { address: other.address }, clock: systemClock, random: systemRandom, log: silentLog() });
  assert.equal(calm.agent, 'calm');
  const outcomes = await storm;
  const seconds = (systemClock.monotonicMs() - beginMs) / 1_000;
  const errors = outcomes.map((outcome) => (outcome.status === 'rejected' && outcome.reason instanceof IsthmusError ? outcome.reason : assert.fail('an attempt was taken')));
  const held = errors.filter((error) => error.code === 'IDENTITY_RATE_LIMITED');
  const judged = errors.filter((error) => error.code === 'IDENTITY_TOKEN_REFUSED');
  assert.equal(held.length + judged.length, 1_000);
  // 20 at once, then five a second.
  assert.ok(judged.length <= 21 + Math.ceil(seconds * 5), `${judged.length} were judged in ${seconds} s`);
  assert.ok(held.every((error) => Number(error.facts['retryAfterMs']) >= 1_000));
  const records = audit.lines.filter((line) => line.includes('"audit"') && line.includes('"refused"'));
  assert.ok(records.length <= judged.length + Math.ceil(seconds) + 1, `${records.length} records`);
  assert.equal(audit.lines.some((line) => line.includes('guess-')), false);
  t.diagnostic(`${held.length} of 1,000 held back in ${seconds.toFixed(2)} s`);
  for (const channel of channels) channel.close();
  await calm.close();
  other.close();
  await east.close();
  await root.close();
  await dir.remove();
});

test('behind one gateway, whose address others have used up, a good token still joins; a bad one, and the good one again, do not', { timeout: 60_000 }, async () => {
  const dir = await testDir('behind');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), rate: { burst: 3, perSecond: 0.001 } });
  const joined = async (token: string): Promise<string> => {
    const channel = openChannel({ address: east.address, serverName: `control-plane.isthmus.${TD}`, expectedId: spiffeIds.controlPlane(TD), bundles: east.authority.bundles, log: silentLog() });
    const client = channel.client(identity.IssuanceClient);
    try {
      await call<identity.JoinRequest, identity.SvidResponse>(client.join.bind(client), { evidence: { $case: 'token', value: token }, csr: makeCsr({ key: generateKey() }) }, { timeoutMs: 30_000 });
      return 'joined';
    } catch (error) {
      return error instanceof IsthmusError ? error.code : String(error);
    } finally {
      channel.close();
    }
  };
  const { token } = await east.issuance.createJoinToken({ agent: 'behind', role: 'agent', services: [] });
  const guess = makeToken({ prefix: 'ijt', pinSha256: east.authority.rootSha256, fields: { cluster: 'east', federation: FEDERATION, agent: 'behind', role: 'agent' } }).token;
  assert.equal(await joined(guess), 'IDENTITY_TOKEN_REFUSED');
  assert.equal(await joined(guess), 'IDENTITY_RATE_LIMITED', 'the address has nothing left');
  assert.equal(await joined(token), 'joined');
  await until(async () => (await joined(token)) === 'IDENTITY_RATE_LIMITED', 'a spent token is held back like any other');
  await east.close();
  await root.close();
  await dir.remove();
});
