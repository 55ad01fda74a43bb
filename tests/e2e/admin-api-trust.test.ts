// Trust over the admin APIs of real processes: foreign trust domains, bans, the root and its rotation, fences, bearer tokens, and the federation on one screen.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Attention, Page } from '@isthmus/api';
import { clusterOf, DEMO_OPERATOR, isthmus, names, openOperator, type Operator, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { startTestIssuer, type TestIssuer } from '@isthmus/identity/testing';
import { type IsthmusError, spiffeIds } from '@isthmus/model';
import { makeBundleDocument } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';

let mesh: TestFederation;
let demo: Operator;
let reader: Operator;
let issuer: TestIssuer;
let home: string;

before(async () => {
  issuer = await startTestIssuer({ clientSecret: 'machine-secret' });
  home = mkdtempSync(join(tmpdir(), 'isthmus-home-'));
  const topology = smallTopology(['east-1', 'west-2']);
  const east = clusterOf(topology, 'east').trustDomain;
  const demoId = spiffeIds.operator(east, DEMO_OPERATOR);
  const oidc = [{ name: 'corp', issuer: issuer.url, audience: 'isthmus', discover: true, caFile: issuer.caFile, rules: [{ match: { groups: 'platform' }, role: 'operator' }, { match: { sub: 'machine' }, role: 'viewer' }] }];
  const grants = [...['operator', 'trust-admin'].map((role) => ({ who: demoId, role })), { who: spiffeIds.operator(east, 'reader'), role: 'viewer' }];
  const settings = (name: string): object => {
    // Of this federation's operators one may rotate and fence; nobody may admit clusters, and west's admin API may ask for nothing.
    if (name === names.trustRoot) return { operators: [{ cluster: 'east', who: [demoId], may: ['rotate', 'fence'] }] };
    return name.endsWith('admin-api') ? { oidc, grants } : {};
  };
  mesh = await startFederation({ topology, links: true, start: false, settings });
  const { federation } = mesh;
  await federation.startTrustRoot();
  for (const cluster of topology.clusters) {
    await federation.startControlPlane(cluster);
    await Promise.all([federation.startGateway(cluster), federation.startAdminApi(cluster), federation.declare(cluster)]);
  }
  [demo, reader] = await Promise.all([openOperator(mesh, 'east', DEMO_OPERATOR), openOperator(mesh, 'east', 'reader')]);
}, { timeout: 180_000 });
after(async () => {
  await Promise.all([demo?.close(), reader?.close()]);
  await mesh.close();
  await issuer.close();
  rmSync(home, { recursive: true, force: true });
});

const codeOf = (code: string) => (error: IsthmusError) => error.code === code;
const statusIs = (status: number) => (error: IsthmusError) => error.facts['status'] === status;
const cli = (args: readonly string[], input?: string) => isthmus(args, { env: { ISTHMUS_HOME: home }, limitMs: 60_000, ...(input !== undefined && { input }) });
const ok = async (args: readonly string[], input?: string): Promise<string> => {
  const finished = await cli(args, input);
  assert.equal(finished.code, 0, `${args.join(' ')}: ${finished.stderr}`);
  return finished.stdout;
};

const partner = testAuthority({ federation: 'partner.example', cluster: 'p' });
const foreign = { params: { cluster: 'east', trustDomain: partner.trustDomain } };
const declaration = { kind: 'federated-trust-domain', trustDomain: partner.trustDomain, source: { profile: 'file' } };
const document = makeBundleDocument(partner.bundle);
const sha256 = createHash('sha256').update(document).digest('hex');

test('a foreign trust domain is declared, given its first bundle by fingerprint, read, fenced by ETag, and dropped with its bundle', async () => {
  const made = await demo.client.call('putForeignTrustDomains', { ...foreign, body: declaration });
  assert.equal(made.status, 201);
  const read = await demo.client.call('getForeignTrustDomains', foreign);
  assert.deepEqual([read.value, read.etag], [declaration, made.etag]);
  const same = await demo.client.call<{ changed: boolean }>('putForeignTrustDomains', { ...foreign, body: declaration, ifMatch: made.etag });
  assert.equal(same.value.changed, false);
  await assert.rejects(demo.client.call('putForeignBundle', { ...foreign, body: { document, sha256: '0'.repeat(64) } }), codeOf('IDENTITY_BUNDLE_FINGERPRINT'));
  assert.equal((await demo.client.call<{ state: string }>('getForeignBundle', foreign)).value.state, 'none');
  assert.deepEqual((await demo.client.call<{ changed: boolean }>('putForeignBundle', { ...foreign, body: { document, sha256 } })).value.changed, true);
  const state = await waitFor('the bundle in force', 30_000, async () => {
    const { value } = await demo.client.call<{ state: string; x509Authorities: number }>('getForeignBundle', foreign);
    return value.state === 'ok' ? value : undefined;
  });
  assert.equal(state.x509Authorities, 1);
  assert.equal((await demo.client.call<{ sha256: string }>('getBundleDocument', foreign)).value.sha256, sha256);
  assert.deepEqual((await demo.client.call<Page>('listForeignTrustDomains', { params: { cluster: 'east' } })).value.items.map((i) => [i.key, i.etag]), [[partner.trustDomain, made.etag]]);
  assert.deepEqual((await demo.client.call<Page>('listForeignTrustDomains', { params: { cluster: 'west' } })).value.items, [], 'it is east’s alone');

  const url = { ...declaration, source: { profile: 'https_web', url: 'https://127.0.0.1:1/' } };
  const dry = await demo.client.call<{ changed: boolean }>('putForeignTrustDomains', { ...foreign, query: { dryRun: 'true' }, body: url });
  assert.deepEqual([dry.value.changed, (await demo.client.call('getForeignTrustDomains', foreign)).value], [true, declaration]);
  const replaced = await demo.client.call('putForeignTrustDomains', { ...foreign, body: url, ifMatch: made.etag });
  await assert.rejects(demo.client.call('putForeignTrustDomains', { ...foreign, body: declaration, ifMatch: made.etag }), statusIs(412));
  await assert.rejects(demo.client.call('deleteForeignTrustDomains', { ...foreign, ifMatch: made.etag }), statusIs(412));
  await demo.client.call('deleteForeignTrustDomains', { ...foreign, ifMatch: replaced.etag });
  await assert.rejects(demo.client.call('getForeignTrustDomains', foreign), statusIs(404));
  await waitFor('its bundle to be gone', 30_000, async () => {
    await assert.rejects(demo.client.call('getBundleDocument', foreign), statusIs(404));
    return true;
  });
});

test('a foreign trust domain that is ours, of a wrong form, or by a role that may not, is refused, and nothing is changed', async () => {
  const put = (client: Operator, body: object, trustDomain: string = partner.trustDomain) => client.client.call('putForeignTrustDomains', { params: { cluster: 'east', trustDomain }, body });
  const ours = clusterOf(mesh.topology, 'west').trustDomain;
  await assert.rejects(put(demo, { ...declaration, trustDomain: ours }, ours), codeOf('IDENTITY_FOREIGN_IS_OURS'));
  await assert.rejects(put(demo, { ...declaration, trustDomain: 'other.example' }), (error: IsthmusError) => error.code === 'API_INVALID' && /trustDomain/.test(error.message));
  await assert.rejects(put(demo, { ...declaration, source: { profile: 'https_spiffe', url: 'https://x.example/', spiffeId: 'spiffe://other.example/s' } }), (error: IsthmusError) => error.facts['status'] === 400 && /source\.spiffeId/.test(error.message));
  await assert.rejects(put(demo, { ...declaration, insecure: true }), (error: IsthmusError) => error.code === 'API_INVALID' && /insecure/.test(error.message));
  await assert.rejects(put(reader, declaration), codeOf('API_DENIED'));
  assert.deepEqual((await demo.client.call<Page>('listForeignTrustDomains', { params: { cluster: 'east' } })).value.items, []);
});

test('an agent is banned and let off, each by who may', async () => {
  const params = { cluster: 'east' };
  const body = { kind: 'agent', name: 'vm-lost', reason: 'stolen' };
  await assert.rejects(reader.client.call('createBan', { params, body }), codeOf('API_DENIED'));
  await assert.rejects(demo.client.call('createBan', { params, body: { kind: 'service', name: 'cart' } }), (error: IsthmusError) => error.code === 'API_INVALID' && /namespace/.test(error.message));
  assert.equal((await demo.client.call('createBan', { params, body, query: { dryRun: 'true' } })).status, 200);
  assert.deepEqual((await reader.client.call<Page>('listBans', { params })).value.items, [], 'a dry run bans nobody');
  type Made = { id: string; reason: string; bannedAtMs: number };
  const once = { params, body, idempotencyKey: 'ban-1' };
  const bansLogged = async (): Promise<number> => readFileSync(join(mesh.paths.state(names.controlPlane('east')), 'authority', 'transparency.log'), 'utf8').split('"kind":"banned"').length - 1;
  const atOnce = await Promise.all(Array.from({ length: 5 }, () => demo.client.call<Made>('createBan', once)));
  const [made] = atOnce;
  assert.ok(made !== undefined);
  assert.equal(new Set(atOnce.map(({ value }) => value.bannedAtMs)).size, 1, 'the same request five times at once bans once');
  assert.equal(await bansLogged(), 1);
  assert.deepEqual([made.status, made.value.reason], [201, 'stolen']);
  assert.equal((await demo.client.call<Made>('createBan', once)).value.bannedAtMs, made.value.bannedAtMs, 'the same request again bans no more than the first');
  await assert.rejects(demo.client.call('createBan', { params, body: { ...body, name: 'vm-other' }, idempotencyKey: 'ban-1' }), statusIs(422));
  assert.deepEqual((await reader.client.call<Page>('listBans', { params })).value.items.map((i) => i.key), [made.value.id]);
  const lift = { params: { ...params, ban: made.value.id }, idempotencyKey: 'lift-1' };
  for (const { value } of await Promise.all([lift, lift, lift].map((one) => demo.client.call('deleteBan', one)))) assert.deepEqual(value, { deleted: true, dryRun: false });
  assert.deepEqual((await demo.client.call('deleteBan', lift)).value, { deleted: true, dryRun: false });
  await assert.rejects(demo.client.call('deleteBan', { params: { ...params, ban: made.value.id } }), statusIs(404));
});

type Trust = { roots: { sha256: string; state: string }[]; rotation?: { step: string; paused: boolean; isRollback: boolean }; clusters: { cluster: string; processes: number; acknowledged: number }[] };

test('the root is rotated over the API by who the trust root lets, shown with each cluster’s acknowledgements, and taken back', async () => {
  await waitFor('both clusters to be heard', 60_000, async () => {
    const { value } = await reader.client.call<Trust>('getTrust');
    return (value.clusters.length === 2 && value.clusters.every((c) => c.processes >= 2)) || undefined;
  });
  await assert.rejects(reader.client.call('rotateTrust', { body: { action: 'begin' } }), codeOf('API_DENIED'));
  await assert.rejects(demo.client.call('rotateTrust', { body: { action: 'begin', compromised: true } }), codeOf('IDENTITY_SOCKET_ONLY'));
  await assert.rejects(demo.client.call('rotateTrust', { body: { action: 'pause' } }), (error: IsthmusError) => error.code === 'IDENTITY_ROTATION_REFUSED' && error.facts['status'] === 409);
  await assert.rejects(demo.client.call('createClusterToken', { body: { cluster: 'north' } }), codeOf('IDENTITY_OPERATOR_DENIED'));
  const atWest = await openOperator(mesh, 'east', DEMO_OPERATOR, 'west');
  try {
    await assert.rejects(atWest.client.call('rotateTrust', { body: { action: 'begin' } }), codeOf('IDENTITY_OPERATOR_DENIED'));
    assert.equal((await atWest.client.call<Trust>('getTrust')).value.clusters.length, 2, 'reading is open to every member’s admin API');
  } finally {
    await atWest.close();
  }
  const begin = { body: { action: 'begin', holdBefore: 'switch' } };
  assert.equal((await demo.client.call<Trust>('rotateTrust', { ...begin, query: { dryRun: 'true' } })).value.rotation, undefined, 'a dry run begins none');
  const begun = await demo.client.call<Trust & { rotation: { id: string } }>('rotateTrust', { ...begin, idempotencyKey: 'begin-1' });
  assert.equal((await demo.client.call<typeof begun.value>('rotateTrust', { ...begin, idempotencyKey: 'begin-1' })).value.rotation.id, begun.value.rotation.id, 'the same request again begins no other');
  await assert.rejects(demo.client.call('rotateTrust', begin), codeOf('IDENTITY_ROTATION_REFUSED'));
  assert.equal((await demo.client.call<{ fenced: boolean; dryRun: boolean }>('putFence', { params: { member: 'west' }, body: {}, query: { dryRun: 'true' } })).value.dryRun, true);
  assert.deepEqual((await demo.client.call<Page>('listFences')).value.items, []);
  const held = await waitFor('everybody to trust both roots', 90_000, async () => {
    const { value } = await reader.client.call<Trust>('getTrust');
    return value.rotation?.step === 'switch' ? value : undefined;
  });
  assert.deepEqual(held.clusters.map((c) => [c.cluster, c.acknowledged === c.processes]), [['east', true], ['west', true]]);
  assert.equal((await demo.client.call<Trust>('rotateTrust', { body: { action: 'pause' } })).value.rotation?.paused, true);
  type Status = { attention: Attention[] };
  assert.ok((await reader.client.call<Status>('getFederationStatus')).value.attention.some((a) => a.severity === 'under-way' && /is at switch, paused/.test(a.detail)));
  await demo.client.call('rotateTrust', { body: { action: 'resume', holdBefore: 'switch' } });
  await demo.client.call('rotateTrust', { body: { action: 'rollback' } });
  const over = await waitFor('the rollback’s end', 90_000, async () => {
    const { value } = await reader.client.call<Trust>('getTrust');
    return value.rotation?.step === 'done' ? value : undefined;
  });
  assert.deepEqual(over.roots.map((r) => r.state), ['signing']);

  type Log = { items: { kind: string; facts: Record<string, string> }[] };
  const { items } = (await demo.client.call<Log>('listTrustLog', { query: { last: '200' } })).value;
  const asked = items.filter((r) => r.kind === 'operator-request');
  assert.deepEqual([...new Set(asked.map((r) => `${r.facts['caller']} ${r.facts['forwardedBy']} ${r.facts['action']}`))], [`${demo.spiffeId} spiffe://${clusterOf(mesh.topology, 'east').trustDomain}/admin-api rotate the root`]);
  const audit = readFileSync(join(mesh.paths.state(names.adminApi('east')), 'audit.log'), 'utf8');
  for (const { facts } of asked) assert.match(audit, new RegExp(`"request":"${facts['request']}"`));
  assert.deepEqual((await cli(['trust', 'verify-log', join(mesh.paths.state(names.trustRoot), 'transparency.log')])).code, 0);
});

test('a person with a bearer token of an issuer logs in without any certificate, and a machine by its client’s secret', async () => {
  const gateway = `127.0.0.1:${mesh.federation.port(names.gateway('east'))}`;
  const { federation } = mesh.topology;
  const { value } = await demo.client.call<{ identity: { rootSha256: string } }>('getStatus', { params: { cluster: 'east' } });
  const tokenFile = join(home, 'token');
  writeFileSync(tokenFile, issuer.token({ sub: 'alice', groups: ['platform'] }), { mode: 0o600 });
  const where = ['--server', gateway, '--cluster', 'east', '--federation', federation];
  const wrongRoot = await cli(['login', '--token-file', tokenFile, ...where, '--root-sha256', '0'.repeat(64)]);
  assert.match(wrongRoot.stderr, /RPC_PIN_MISMATCH/);
  assert.match(await ok(['login', '--token-file', tokenFile, ...where, '--root-sha256', value.identity.rootSha256]), /logged in as oidc:corp:alice; context east is in use/);
  assert.match(await ok(['whoami']), /oidc:corp:alice\noperator in clusters all/);
  const service = 'kind: service\nnamespace: shop\nname: typed\nports:\n  - { name: http, port: 80, protocol: http }\n';
  assert.match(await ok(['apply', '-f', '-'], service), /applied/);
  // Another cluster judges the same claims by its own rules.
  assert.match(await ok(['apply', '-f', '-', '--cluster', 'west'], service), /applied/);
  assert.match(readFileSync(join(mesh.paths.state(names.adminApi('west')), 'audit.log'), 'utf8'), /"caller":"oidc:corp:alice"[^\n]*"forwardedBy":"spiffe:\/\/east/);
  assert.equal((await cli(['token', 'create', 'vm-1'])).code, 77, 'an operator makes no join tokens');
  writeFileSync(tokenFile, issuer.token({ groups: ['platform'], iat: 1, exp: 2 }));
  const expired = await cli(['service', 'list']);
  assert.deepEqual([expired.code, /\(expired\)/.test(expired.stderr), /hint: get a new one from its issuer/.test(expired.stderr)], [77, true, true], expired.stderr);

  const secretFile = join(home, 'secret');
  writeFileSync(secretFile, 'wrong');
  const machine = ['login', ...where, '--root-sha256', value.identity.rootSha256, '--context', 'machine', '--issuer', issuer.url, '--issuer-ca', issuer.caFile, '--client-id', 'machine', '--client-secret-file', secretFile];
  const refused = await cli(machine);
  assert.deepEqual([refused.code, /invalid_client/.test(refused.stderr)], [77, true], refused.stderr);
  writeFileSync(secretFile, 'machine-secret\n');
  assert.match(await ok(machine), /logged in as oidc:corp:machine/);
  const asked = issuer.forms.length;
  assert.match(await ok(['service', 'list']), /typed/);
  assert.equal(issuer.forms.length, asked, 'a token that lasts is used again');
});

test('commands over a context cover trust, and say what to do where something is for another place', async () => {
  const { token } = await mesh.federation.admin('east').createJoinToken({ agent: DEMO_OPERATOR, role: 'operator', services: [], ttlSeconds: 600 });
  const gateway = `127.0.0.1:${mesh.federation.port(names.gateway('east'))}`;
  await ok(['login', '--token-file', '-', '--server', gateway, '--context', 'demo'], `${token}\n`);
  const file = join(home, 'partner.json');
  writeFileSync(file, document);
  assert.match(await ok(['trust', 'federate', partner.trustDomain, '--bundle', file, '--sha256', sha256]), /is federated/);
  const yaml = `kind: federated-trust-domain\ntrustDomain: ${partner.trustDomain}\nsource: { profile: file }\n`;
  const [listed, exported, differs, got] = await Promise.all([ok(['trust', 'list']), ok(['trust', 'bundle', 'export', partner.trustDomain]), ok(['diff', '-f', '-'], yaml), ok(['get', 'foreign-trust-domains', '-o', 'yaml'])]);
  assert.match(listed, new RegExp(`${partner.trustDomain.replaceAll('.', '\\.')} +file`));
  assert.deepEqual([exported, differs], [document, 'nothing differs\n']);
  assert.match(got, /profile: file/);
  assert.match(await ok(['delete', '-f', '-'], yaml), /deleted/);
  const [clusters, trust, log, compromised] = await Promise.all([ok(['cluster', 'list']), ok(['trust', 'status']), ok(['trust', 'log', '--last', '5']), cli(['trust', 'rotate', '--compromised', '--yes', '--no-follow'])]);
  assert.match(clusters, /east[^]*west/);
  assert.match(trust, /signing[^]*east +yes/);
  assert.match(log, /INDEX/);
  assert.deepEqual([compromised.code, /hint: run the same command on the trust root’s machine/.test(compromised.stderr)], [77, true], compromised.stderr);
  assert.match(await ok(['agent', 'ban', 'vm-lost', '--reason', 'test']), /is banned/);
  assert.match(await ok(['agent', 'unban', 'vm-lost']), /is lifted/);
  const versions = JSON.parse(await ok(['version', '-o', 'json'])) as { version: string; parts: { part: string; version: string }[] };
  assert.deepEqual([...new Set(versions.parts.map((p) => p.version))], [versions.version], JSON.stringify(versions));
  assert.deepEqual([...new Set(versions.parts.map((p) => p.part.split(' ')[0]))].toSorted(), ['admin-api', 'control-plane', 'gateway', 'trust-root']);
});

test('who replaces the root over the API is still logged in after it', async () => {
  const before = (await reader.client.call<Trust>('getTrust')).value.roots[0]?.sha256;
  const followed = await ok(['trust', 'rotate', '--context', 'demo']);
  assert.match(followed, /: done in /);
  assert.match(await ok(['whoami', '--context', 'demo']), /operator\/demo/);
  const page = await ok(['trust', 'status', '--context', 'demo']);
  assert.ok(before !== undefined && !page.includes(before.slice(0, 12)), page);
  // The others of this test were not there when the root changed, and log in again as anybody would; they know the new root alone.
  await Promise.all([demo.close(), reader.close()]);
  [demo, reader] = await Promise.all([openOperator(mesh, 'east', DEMO_OPERATOR), openOperator(mesh, 'east', 'reader')]);
});

test('the newest log lines of each program are at its own socket', async () => {
  await Promise.all(['trust-root', 'control-plane', 'gateway', 'admin-api'].map(async (program) => {
    const lines = (await ok(['logs', program, '--state', mesh.paths.root, '--cluster', 'east', '-o', 'json', '-n', '2000'])).trim().split('\n').map((line) => JSON.parse(line) as { msg: string; program: string });
    assert.ok(lines.some((l) => l.msg === 'ready' && l.program === program), program);
  }));
  const absent = await cli(['logs', 'agent', '--state', mesh.paths.root]);
  assert.deepEqual([absent.code, /journalctl -u isthmus-agent/.test(absent.stderr)], [69, true], absent.stderr);
});

test('a cluster behind a cut link is first on the screen, the rest is as it was; a fence is up and down again', async () => {
  const link = mesh.links.get('west');
  assert.ok(link);
  link.cut('refuse');
  try {
    const page = await ok(['status', '--context', 'demo']);
    assert.match(page, /^failing +west: cluster cannot be asked: /);
    assert.match(page, /\neast +answers[^]*\nwest +away \(\w[\w-]*\) +from the mirror, /);
  } finally {
    link.heal();
  }
  type Fences = { items: { cluster: string }[] };
  await assert.rejects(reader.client.call('putFence', { params: { member: 'west' }, body: {} }), codeOf('API_DENIED'));
  await assert.rejects(demo.client.call('putFence', { params: { member: 'nowhere' }, body: {} }), statusIs(404));
  await demo.client.call('putFence', { params: { member: 'west' }, body: { reason: 'test' } });
  assert.deepEqual((await reader.client.call<Fences>('listFences')).value.items, [{ cluster: 'west' }]);
  await demo.client.call('deleteFence', { params: { member: 'west' } });
  assert.deepEqual((await reader.client.call<Fences>('listFences')).value.items, []);
});
