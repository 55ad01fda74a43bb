import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, makeCsr, signSvid, verifySvid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { call, handleUnary, identity, openChannel, startRpcServer } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { publicKeyOf } from '../csr.ts';
import { FEDERATION, startTestCluster, startTestTrustRoot, testDir, type TestCluster, type TestTrustRoot, until } from '../testing.ts';
import { bundleToWire } from '../wire.ts';
import { type Identity, type IdentityOptions, joinOrResume } from './join.ts';

const TD = 'east.acme.example' as TrustDomain;
const PAYMENTS = { namespace: 'shop', name: 'payments' };
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let east: TestCluster;
let count = 0;

before(async () => {
  dir = await testDir('join');
  root = await startTestTrustRoot(join(dir.path, 'root'));
  east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east') });
});
after(async () => {
  await east.close();
  await root.close();
  await dir.remove();
});

function options(over: Partial<IdentityOptions> = {}): IdentityOptions {
  return {
    stateDir: join(dir.path, `proxy-${count++}`),
    server: { address: east.address },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
    joinTimeoutMs: 0,
    requestTimeoutMs: 3_000,
    ...over,
  };
}
const tokenFor = async (agent: string, over: { role?: 'agent' | 'gateway'; services?: string[]; ttlSeconds?: number } = {}): Promise<string> =>
  (await east.issuance.createJoinToken({ agent, role: 'agent', services: over.role === 'gateway' ? [] : ['shop/payments'], ...over })).token;
const code = (wanted: string, pattern = /./) => (error: Error & { code?: string }) => {
  assert.equal(error.code, wanted, error.message);
  assert.match(error.message, pattern);
  return true;
};
async function withIdentity(over: Partial<IdentityOptions>, use: (proxy: Identity, config: IdentityOptions) => Promise<void>): Promise<void> {
  const config = options(over);
  const proxy = await joinOrResume(config);
  try {
    await use(proxy, config);
  } finally {
    await proxy.close();
  }
}

test('an agent joins by token under the name its token gives it, and a peer takes its SVID', async () => {
  await withIdentity({ token: await tokenFor('vm-1') }, async (proxy) => {
    assert.equal(proxy.spiffeId, 'spiffe://east.acme.example/agent/vm-1');
    const svid = proxy.svids.current();
    assert.ok(svid);
    const verdict = verifySvid({ chain: svid.chain, bundle: east.authority.bundles.get(TD), nowMs: Date.now() });
    assert.equal(verdict.ok && verdict.spiffeId, proxy.spiffeId);
    assert.ok((await east.issuance.listEntries()).some((e) => e.agent === 'vm-1'));
  });
});

test('a gateway’s token gives the gateway’s name', async () => {
  await withIdentity({ token: await tokenFor('gw-1', { role: 'gateway' }) }, async (proxy) => {
    assert.equal(proxy.spiffeId, 'spiffe://east.acme.example/gateway');
    assert.equal(proxy.agent, 'gw-1');
    await proxy.renewNow();
    assert.equal(proxy.status().lastError, undefined);
  });
});

test('a join token is refused when used, expired, deleted, for another cluster, and when it is garbage', async () => {
  const used = await tokenFor('twice');
  await withIdentity({ token: used }, async () => undefined);
  await assert.rejects(joinOrResume(options({ token: used })), code('IDENTITY_TOKEN_REFUSED', /used at/));

  const deleted = await east.issuance.createJoinToken({ agent: 'gone', role: 'agent', services: [] });
  await east.issuance.deleteJoinToken(deleted.id);
  await assert.rejects(joinOrResume(options({ token: deleted.token })), code('IDENTITY_TOKEN_REFUSED', /unknown|deleted/));
  await assert.rejects(east.issuance.deleteJoinToken(deleted.id), code('IDENTITY_TOKEN_NOT_FOUND'));

  await assert.rejects(joinOrResume(options({ token: 'rubbish' })), code('IDENTITY_TOKEN_REFUSED', /garbage/));
  await assert.rejects(joinOrResume(options({ token: await root.token('nobody') })), code('IDENTITY_TOKEN_REFUSED', /bootstrap/));
  assert.ok(!(await east.issuance.listEntries()).some((e) => e.agent === 'gone'));
});

test('an expired join token is refused', async () => {
  let offsetMs = 0;
  const clock = { ...systemClock, nowMs: () => Date.now() + offsetMs };
  const west = await startTestCluster(join(dir.path, 'west'), { cluster: 'west', trustRoot: { address: root.address }, token: await root.token('west'), clock });
  try {
    const { token } = await west.issuance.createJoinToken({ agent: 'late', role: 'agent', services: [], ttlSeconds: 60 });
    offsetMs = 61_000;
    await assert.rejects(joinOrResume(options({ token, server: { address: west.address } })), code('IDENTITY_TOKEN_REFUSED', /expired at/));
    // East's address with west's token: the server proves it is east, so the token is not even sent.
    const other = await west.issuance.createJoinToken({ agent: 'late', role: 'agent', services: [] });
    await assert.rejects(joinOrResume(options({ token: other.token })));
    const kept = (await west.issuance.listJoinTokens()).find((t) => t.id === other.id);
    assert.equal(kept?.usedAtMs, undefined);
  } finally {
    await west.close();
  }
});

test('of two who present one token at the same moment, one gets in', async () => {
  const token = await tokenFor('race');
  const results = await Promise.allSettled([joinOrResume(options({ token })), joinOrResume(options({ token }))]);
  const joined = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
  assert.equal(joined.length, 1);
  await joined[0]?.close();
});

test('a proxy that cannot keep its identity does not spend its token', async () => {
  const config = options({ token: await tokenFor('homeless') });
  // A folder where a file is to be: nothing can be written there.
  const obstacle = join(config.stateDir, 'identity.state.probe');
  await mkdir(join(obstacle, 'x'), { recursive: true });
  await assert.rejects(joinOrResume(config), code('STATE_UNWRITABLE'));
  await rm(obstacle, { recursive: true });
  await (await joinOrResume(config)).close();
});

test('only the hash of a join token is in the store', async () => {
  const token = await tokenFor('hash');
  const secret = token.slice(-20);
  for (const prefix of ['join-tokens/', 'entries/']) {
    for (const { value } of (await east.store.store.list(prefix)).entries) assert.ok(!value.toString().includes(secret));
  }
});

test('a request for a token names every wrong field', async () => {
  await assert.rejects(
    east.issuance.createJoinToken({ agent: 'Not A Name', role: 'agent', services: ['nope', 'a/b'], ttlSeconds: -1 }),
    code('IDENTITY_TOKEN_INVALID', /agent.*services\[0\].*ttlSeconds/s),
  );
});

test('what a signing request asks for beyond the caller’s name is refused, and the token survives it', async () => {
  const token = await tokenFor('modest');
  const channel = openChannel({
    address: east.address,
    serverName: `control-plane.isthmus.${TD}`,
    expectedId: spiffeIds.controlPlane(TD),
    bundles: east.authority.bundles,
    log: silentLog(),
  });
  const client = channel.client(identity.IssuanceClient);
  const send = (csr: Buffer) => call<identity.JoinRequest, identity.SvidResponse>(client.join.bind(client), { evidence: { $case: 'token', value: token }, csr }, { timeoutMs: 5_000 });
  try {
    for (const spiffeId of ['spiffe://east.acme.example/control-plane', 'spiffe://east.acme.example/agent/other', 'spiffe://west.acme.example/agent/modest', 'spiffe://east.acme.example']) {
      await assert.rejects(send(makeCsr({ key: generateKey(), spiffeId: spiffeId as SpiffeId })), code('IDENTITY_CSR_REFUSED'), spiffeId);
    }
    const good = makeCsr({ key: generateKey(), spiffeId: spiffeIds.agent(TD, 'modest') });
    const forged = Buffer.from(good);
    forged[forged.length - 5] = (forged.at(-5) ?? 0) ^ 0xff;
    await assert.rejects(send(forged), code('IDENTITY_CSR_REFUSED'));
    await assert.rejects(send(Buffer.alloc(20_000)), code('IDENTITY_CSR_REFUSED'));
    await assert.rejects(call<identity.RenewRequest, identity.SvidResponse>(client.renew.bind(client), { csr: good }, { timeoutMs: 5_000 }), code('IDENTITY_DENIED'));
    const { chain } = await send(good);
    assert.ok(chain[0]);
    assert.equal(new X509Certificate(chain[0]).ca, false);
  } finally {
    channel.close();
  }
});

test('an agent restarts from disk with the control plane down, its services’ SVIDs with it', async () => {
  const alone = await startTestCluster(join(dir.path, 'alone'), { cluster: 'alone', trustRoot: { address: root.address }, token: await root.token('alone') });
  const { token } = await alone.issuance.createJoinToken({ agent: 'vm-2', role: 'agent', services: ['shop/payments'] });
  const config = options({ token, server: { address: alone.address } });
  const first = await joinOrResume(config);
  const [source, forProcesses] = [first.serviceSvids(PAYMENTS), first.workloadSvids(PAYMENTS)];
  await until(() => source.current() !== undefined && forProcesses.current() !== undefined, 'the service’s SVIDs');
  const [own, service, processes] = [first.svids.current(), source.current(), forProcesses.current()];
  assert.ok(service && processes);
  // What its processes are given is the same identity by another key than the agent's own.
  assert.equal(processes.spiffeId, service.spiffeId);
  assert.ok(!createPublicKey(processes.key).equals(createPublicKey(service.key)));
  await first.close();
  await alone.close();

  const second = await joinOrResume({ ...config, token: undefined });
  assert.deepEqual(second.svids.current()?.chain, own?.chain);
  const resumed = second.serviceSvids(PAYMENTS);
  await until(() => resumed.current() !== undefined, 'the service’s SVID from disk');
  assert.deepEqual(resumed.current()?.chain, service?.chain);
  assert.equal(resumed.current()?.spiffeId, 'spiffe://alone.acme.example/ns/shop/svc/payments');
  const handedOut = second.workloadSvids(PAYMENTS);
  await until(() => handedOut.current() !== undefined, 'the processes’ SVID from disk');
  assert.deepEqual(handedOut.current()?.chain, processes.chain);
  await second.close();
  for (const name of await readdir(config.stateDir)) assert.equal((await stat(join(config.stateDir, name))).mode & 0o777, 0o600, name);
});

test('a renewed SVID has a new key, is on disk, and its listeners are told', async () => {
  await withIdentity({ token: await tokenFor('renewer') }, async (proxy, config) => {
    const before = proxy.svids.current();
    const heard: string[] = [];
    proxy.svids.onChange((svid) => heard.push(svid.spiffeId));
    await proxy.renewNow();
    const renewed = proxy.svids.current();
    assert.ok(before && renewed && renewed !== before);
    assert.ok(!createPublicKey(renewed.key).equals(createPublicKey(before.key)));
    assert.deepEqual(heard, [proxy.spiffeId]);
    const leaf = renewed.chain[0]?.toString('base64') ?? '?';
    assert.ok((await readFile(join(config.stateDir, 'identity.state'), 'utf8')).includes(leaf));
  });
});

test('an agent gets the services its entry lists, and no others', async () => {
  await withIdentity({ token: await tokenFor('server') }, async (proxy) => {
    const source = proxy.serviceSvids(PAYMENTS);
    await until(() => source.current() !== undefined, 'the listed service');
    assert.equal(proxy.serviceSvids(PAYMENTS), source);
    const client = proxy.channel().client(identity.IssuanceClient);
    const csr = makeCsr({ key: generateKey(), spiffeId: spiffeIds.service(TD, { namespace: 'shop', name: 'ledger' }) });
    const request = { csr, namespace: 'shop', service: 'ledger' };
    await assert.rejects(call<identity.IssueServiceRequest, identity.SvidResponse>(client.issueService.bind(client), request, { timeoutMs: 5_000 }), code('IDENTITY_DENIED', /ledger/));
    assert.equal(await east.issuance.mayServe('server', PAYMENTS), true);
    assert.equal(await east.issuance.mayServe('server', { namespace: 'shop', name: 'ledger' }), false);
  });
});

test('a gateway gets no service’s identity', async () => {
  await withIdentity({ token: await tokenFor('gw-2', { role: 'gateway' }) }, async (proxy) => {
    const client = proxy.channel().client(identity.IssuanceClient);
    const csr = makeCsr({ key: generateKey(), spiffeId: spiffeIds.service(TD, PAYMENTS) });
    await assert.rejects(
      call<identity.IssueServiceRequest, identity.SvidResponse>(client.issueService.bind(client), { csr, namespace: 'shop', service: 'payments' }, { timeoutMs: 5_000 }),
      code('IDENTITY_DENIED'),
    );
  });
});

test('an agent whose entry was taken renews no more, until it has a new token', async () => {
  await withIdentity({ token: await tokenFor('expelled') }, async (proxy, config) => {
    assert.equal(await east.issuance.deleteEntry('agent', 'expelled'), true);
    const before = proxy.svids.current();
    await proxy.renewNow();
    assert.equal(proxy.svids.current(), before);
    assert.match(proxy.status().lastError ?? '', /no entry/);
    await proxy.close();
    const again = await joinOrResume({ ...config, token: await tokenFor('expelled') });
    await again.renewNow();
    assert.notDeepEqual(again.svids.current()?.chain, before?.chain);
    assert.equal(again.status().lastError, undefined);
    await again.close();
  });
});

test('a newer token that lists another service is used when that service is asked for', async () => {
  await withIdentity({ token: await tokenFor('growing') }, async (proxy, config) => {
    await proxy.close();
    const again = await joinOrResume({ ...config, token: await tokenFor('growing', { services: ['shop/payments', 'shop/ledger'] }) });
    const source = again.serviceSvids({ namespace: 'shop', name: 'ledger' });
    await until(() => source.current() !== undefined, 'the new service');
    await again.close();
  });
});

test('without an identity and without a token the reason is said, as for a token of another proxy', async () => {
  await assert.rejects(joinOrResume(options()), code('IDENTITY_NO_IDENTITY', /no join token/));
  await withIdentity({ token: await tokenFor('one') }, async (proxy, config) => {
    await proxy.close();
    await assert.rejects(joinOrResume({ ...config, token: await tokenFor('two') }), code('IDENTITY_STATE_MISMATCH', /one.*two/s));
    const nextDay = { ...systemClock, nowMs: () => Date.now() + 86_400_000 };
    await assert.rejects(joinOrResume({ ...config, token: undefined, clock: nextDay }), code('IDENTITY_NO_IDENTITY', /not valid/));
    await assert.rejects(joinOrResume({ ...config, clock: nextDay }), code('IDENTITY_NO_IDENTITY', /was spent/));
  });
});

test('row 91: an agent that slept over the end of its SVID and has nothing but a spent token says which command to run', async () => {
  const { token } = await east.issuance.createJoinToken({ agent: 'sleeper', role: 'agent', services: [] });
  let aheadMs = 0;
  const proxy = await joinOrResume(options({ token, clock: { ...systemClock, nowMs: () => Date.now() + aheadMs } }));
  aheadMs = 2 * 3_600_000;
  await proxy.renewNow();
  assert.match(proxy.status().lastError ?? '', /ran out at .*a join token lets it in once only.*isthmus token create sleeper/s);
  await proxy.close();
  await assert.rejects(joinOrResume(options({ token, attestation: { cluster: 'east', federation: FEDERATION, rootSha256: [], source: { method: 'jwt', read: () => Promise.resolve('') } } })), code('IDENTITY_ATTESTATION_CONFIG', /both/));
});

test('a damaged identity is joined anew with a token and refused without; an exposed one is always refused', async () => {
  await withIdentity({ token: await tokenFor('hurt') }, async (proxy, config) => {
    await proxy.close();
    const path = join(config.stateDir, 'identity.state');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.slice(0, -20));
    await assert.rejects(joinOrResume({ ...config, token: undefined }), code('STATE_CORRUPT'));
    const again = await joinOrResume({ ...config, token: await tokenFor('hurt') });
    await again.close();
    await chmod(path, 0o644);
    await assert.rejects(joinOrResume({ ...config, token: undefined }), code('STATE_EXPOSED'));
  });
});

test('one caller’s storm is refused and the others are served', async () => {
  const limited = await startTestCluster(join(dir.path, 'limited'), {
    cluster: 'limited',
    trustRoot: { address: root.address },
    token: await root.token('limited'),
    rate: { burst: 2, perSecond: 0 },
  });
  try {
    const { token } = await limited.issuance.createJoinToken({ agent: 'busy', role: 'agent', services: [] });
    const proxy = await joinOrResume(options({ token, server: { address: limited.address } }));
    const client = proxy.channel().client(identity.IssuanceClient);
    const renew = () => call<identity.RenewRequest, identity.SvidResponse>(client.renew.bind(client), { csr: makeCsr({ key: generateKey(), spiffeId: proxy.spiffeId }) }, { timeoutMs: 5_000 });
    await renew();
    await renew();
    await assert.rejects(renew(), code('IDENTITY_RATE_LIMITED'));
    const other = await limited.issuance.createJoinToken({ agent: 'calm', role: 'agent', services: [] });
    const calm = await joinOrResume(options({ token: other.token, server: { address: limited.address } }));
    await calm.close();
    await proxy.close();
  } finally {
    await limited.close();
  }
});

test('neither token nor key is ever logged', async () => {
  const lines: string[] = [];
  const note = (message: string, fields?: object): void => void lines.push(JSON.stringify([message, fields]));
  const log = { ...silentLog(), error: note, warn: note, info: note, debug: note, with: () => log } as ReturnType<typeof silentLog>;
  const loud = await startTestCluster(join(dir.path, 'loud'), { cluster: 'loud', trustRoot: { address: root.address }, token: await root.token('loud'), log });
  const { token } = await loud.issuance.createJoinToken({ agent: 'vm-3', role: 'agent', services: [] });
  const proxy = await joinOrResume(options({ token, server: { address: loud.address }, log }));
  await assert.rejects(joinOrResume(options({ token, server: { address: loud.address }, log })), code('IDENTITY_TOKEN_REFUSED'));
  await proxy.close();
  await loud.close();
  const audit = lines.filter((line) => line.includes('"audit"'));
  assert.deepEqual(audit.map((line) => /"outcome":"(\w+)"/.exec(line)?.[1]), ['admitted', 'refused'], 'an audit record each');
  assert.ok(lines.length > 3);
  for (const line of lines) assert.ok(!line.includes(token.slice(-16)) && !line.includes('PRIVATE KEY'), line);
});

test('a control plane of another root is not believed, whatever names it bears', async () => {
  const impostorRoot = await startTestTrustRoot(join(dir.path, 'impostor-root'));
  const impostor = await startTestCluster(join(dir.path, 'impostor'), { cluster: 'east', trustRoot: { address: impostorRoot.address }, token: await impostorRoot.token('east') });
  try {
    const token = await tokenFor('wary');
    await assert.rejects(joinOrResume(options({ token, server: { address: impostor.address } })), code('RPC_PIN_MISMATCH'));
    await withIdentity({ token }, async (proxy, config) => {
      const { chain } = proxy.svids.current() ?? {};
      await proxy.close();
      const misled = await joinOrResume({ ...config, server: { address: impostor.address } });
      await misled.renewNow();
      assert.deepEqual(misled.svids.current()?.chain, chain);
      assert.ok(misled.status().lastError);
      await misled.close();
    });
  } finally {
    await impostor.close();
    await impostorRoot.close();
  }
});

test('a renewed SVID that a peer would refuse, or that is another’s, is not taken; the old one stays', async () => {
  const faulty: { answer: (csr: Buffer) => readonly Buffer[] } = { answer: () => [] };
  const renew = handleUnary<identity.RenewRequest, identity.SvidResponse>(async ({ csr }) => ({
    chain: [...faulty.answer(csr)],
    bundles: east.authority.bundles.all().map(bundleToWire),
  }));
  const server = await startRpcServer({
    listen: { host: '127.0.0.1', port: 0 },
    svids: east.authority.svids,
    bundles: east.authority.bundles,
    services: [{ definition: east.issuance.definition, implementation: { ...east.issuance.implementation, renew } }],
    log: silentLog(),
  });
  const foreign = testAuthority({ federation: 'acme.example', cluster: 'east' });
  try {
    await withIdentity({ token: await tokenFor('careful'), server: { address: `127.0.0.1:${server.port}` } }, async (proxy) => {
      const before = proxy.svids.current();
      const keyIn = (csr: Buffer) => publicKeyOf(csr, proxy.spiffeId);
      const rows: readonly { readonly name: string; readonly answer: typeof faulty.answer }[] = [
        { name: 'nothing', answer: () => [] },
        { name: 'another key', answer: () => east.authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId: proxy.spiffeId }).chain },
        { name: 'another name', answer: (csr) => east.authority.sign({ publicKey: keyIn(csr), spiffeId: spiffeIds.agent(TD, 'other') }).chain },
        { name: 'another root', answer: (csr) => [signSvid({ issuer: foreign.intermediate, publicKey: keyIn(csr), spiffeId: proxy.spiffeId, nowMs: Date.now(), ttlMs: 60_000 }), foreign.intermediate.cert] },
        { name: 'no chain to the root', answer: (csr) => east.authority.sign({ publicKey: keyIn(csr), spiffeId: proxy.spiffeId }).chain.slice(0, 1) },
      ];
      for (const row of rows) {
        faulty.answer = row.answer;
        await proxy.renewNow();
        assert.equal(proxy.svids.current(), before, row.name);
        assert.ok(proxy.status().lastError, row.name);
      }
      faulty.answer = (csr) => east.authority.sign({ publicKey: keyIn(csr), spiffeId: proxy.spiffeId }).chain;
      await proxy.renewNow();
      assert.notEqual(proxy.svids.current(), before);
      assert.equal(proxy.status().lastError, undefined);
    });
  } finally {
    await server.close(200);
  }
});
