// Machines with a certificate of a company's CA: they prove the key over a challenge, and what was proven once proves nothing again.
import assert from 'node:assert/strict';
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { IsthmusError, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, makeCsr, signPossession, signSvid, toPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { call, identity, openChannel, type RpcChannel } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { fakeClock } from '@isthmus/runtime/testing';
import { silentLog } from '@isthmus/telemetry';
import { type Identity, joinOrResume } from '../proxy/join.ts';
import { FEDERATION, startTestCluster, startTestTrustRoot, type TestCluster, testDir, type TestTrustRoot } from '../testing.ts';
import { openChallenges } from './challenges.ts';

const TD = 'east.acme.example' as TrustDomain;
// The root of a test authority is a CA like any other to those who configure it; here it signs machines itself.
const company = testAuthority({ federation: 'company.example' });
const machine = machineOf(company);
const stranger = machineOf(testAuthority({ federation: 'company.example' }));
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;
const channels: RpcChannel[] = [];

before(async () => {
  dir = await testDir('x509');
  root = await startTestTrustRoot(join(dir.path, 'root'));
  const caFile = join(dir.path, 'ca.pem');
  await writeFile(caFile, toPem(company.root.cert));
  const rules = [{ match: { uri: 'spiffe://machines.company.example/host/vm-7' }, agent: 'vm-7', services: ['shop/payments'] }];
  east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), attestation: { x509: [{ name: 'company', caFiles: [caFile], rules }] } });
}, { timeout: 60_000 });
after(async () => {
  for (const channel of channels) channel.close();
  await east.close();
  await root.close();
  await dir.remove();
});

function machineOf({ root: issuer }: typeof company): { readonly chain: readonly Buffer[]; readonly key: KeyObject } {
  const key = generateKey();
  const spiffeId = 'spiffe://machines.company.example/host/vm-7' as SpiffeId;
  return { key, chain: [signSvid({ issuer, publicKey: createPublicKey(key), spiffeId, nowMs: Date.now(), ttlMs: 3_600_000 })] };
}

async function joinWith(pair: { readonly chain: readonly Buffer[]; readonly key: KeyObject }): Promise<Identity> {
  return joinOrResume({
    stateDir: await mkdtemp(join(dir.path, 'proxy-')),
    server: { address: east.address },
    attestation: { cluster: 'east', federation: FEDERATION, rootSha256: [east.authority.rootSha256], source: { method: 'x509', read: () => Promise.resolve(pair) } },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    joinTimeoutMs: 500,
  });
}
function client(): identity.IssuanceClient {
  const channel = openChannel({ address: east.address, serverName: `control-plane.isthmus.${TD}`, expectedId: spiffeIds.controlPlane(TD), bundles: east.authority.bundles, log: silentLog() });
  channels.push(channel);
  return channel.client(identity.IssuanceClient);
}
const nonceFor = async (of: identity.IssuanceClient): Promise<Buffer> => (await call<identity.ChallengeRequest, identity.ChallengeResponse>(of.challenge.bind(of), {}, { timeoutMs: 5_000 })).nonce;
const send = (to: identity.IssuanceClient, csr: Buffer, nonce: Buffer, signature: Buffer, chain = machine.chain) =>
  call<identity.JoinRequest, identity.SvidResponse>(to.join.bind(to), { csr, evidence: { $case: 'x509Proof', value: { chain: [...chain], nonce, signature } } }, { timeoutMs: 5_000 });
const proofFor = (csr: Buffer, nonce: Buffer, key = machine.key, trustDomain = TD): Buffer => signPossession(key, { trustDomain, nonce, csrSha256: createHash('sha256').update(csr).digest() });
const refusedFor = (reason: RegExp) => (error: unknown) => {
  assert.ok(error instanceof IsthmusError, String(error));
  assert.equal(error.code, 'IDENTITY_ATTESTATION_REFUSED');
  assert.match(error.message, reason);
  return true;
};

test('a machine joins by its certificate and key, and again, since a proof can be made anew', async () => {
  for (let i = 0; i < 2; i++) {
    const proxy = await joinWith(machine);
    assert.equal(proxy.spiffeId, 'spiffe://east.acme.example/agent/vm-7');
    await proxy.close();
  }
  await assert.rejects(joinWith(stranger), refusedFor(/does not lead to a root/));
  await assert.rejects(joinWith({ chain: machine.chain, key: generateKey() }), refusedFor(/not signed by the certificate’s key/));
});

test('a proof is worth nothing a second time, on another connection, for another signing request or for another trust domain', async () => {
  const [one, two] = [client(), client()];
  const csr = makeCsr({ key: generateKey() });
  const nonce = await nonceFor(one);
  const proof = proofFor(csr, nonce);
  await assert.rejects(send(two, csr, nonce, proof), refusedFor(/no challenge/));
  await assert.rejects(send(one, csr, nonce, proof), refusedFor(/no challenge/), 'shown elsewhere it is spoilt');
  const second = await nonceFor(one);
  await send(one, csr, second, proofFor(csr, second));
  await assert.rejects(send(one, csr, second, proofFor(csr, second)), refusedFor(/no challenge/));
  const third = await nonceFor(one);
  await assert.rejects(send(one, makeCsr({ key: generateKey() }), third, proofFor(csr, third)), refusedFor(/not signed by/));
  const fourth = await nonceFor(one);
  await assert.rejects(send(one, csr, fourth, proofFor(csr, fourth, machine.key, 'west.acme.example' as TrustDomain)), refusedFor(/not signed by/));
  const fifth = await nonceFor(one);
  await assert.rejects(send(one, csr, fifth, proofFor(csr, fifth), Array.from({ length: 7 }, () => machine.chain[0] ?? Buffer.alloc(0))), refusedFor(/too large/));
});

test('a challenge is good once, for 30 s, and there are never many', async () => {
  const clock = fakeClock();
  const challenges = openChallenges(clock);
  const nonce = challenges.issue('a:1');
  assert.deepEqual([challenges.take('a:1', nonce), challenges.take('a:1', nonce)], [true, false]);
  const late = challenges.issue('a:1');
  await clock.advance(30_001);
  assert.equal(challenges.take('a:1', late), false);
  const [first, second, third] = [1, 2, 3].map(() => challenges.issue('a:1'));
  assert.deepEqual([first, second, third].map((one) => challenges.take('a:1', one ?? Buffer.alloc(0))), [false, true, true], 'two at once for each connection');
  const oldest = challenges.issue('b:0');
  for (let i = 1; i <= 4_096; i++) challenges.issue(`b:${i}`);
  assert.equal(challenges.take('b:0', oldest), false, 'the oldest of too many is given up');
});
