// Clients no one here wrote, against a running federation: curl, openssl, etcdctl, dig.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { spiffeIds } from '@isthmus/model';
import { svidToPem, toPem } from '@isthmus/pki';
import { FEDERATION, findProgram, foreignSvid, LEDGER, names, openProbeCluster, outboundOf, PAYMENTS, portNames, run, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
let files: { readonly root: string; readonly cert: string; readonly chain: string; readonly key: string; readonly foreignCert: string; readonly foreignKey: string };
const EAST = 'east.demo.isthmus.example';
const NAME = `http.payments.shop.svc.${EAST}`;

before(
  async () => {
    mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-2']) });
    files = await makeFiles();
  },
  { timeout: 60_000 },
);
after(() => mesh.close());

/** A member's SVID and a stranger's as PEM files, and the federation's root. */
async function makeFiles(): Promise<typeof files> {
  const directory = join(mesh.paths.root, 'pem');
  mkdirSync(directory);
  const write = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const [root] = (await mesh.federation.trustRootAdmin().federation()).bundles.find((b) => b.trustDomain === EAST)?.x509Authorities ?? [];
  assert.ok(root, 'east has a bundle');
  const probe = await openProbeCluster(mesh.federation);
  const member = svidToPem(probe.sign(spiffeIds.service(probe.trustDomain, PAYMENTS), { nowMs: Date.now(), ttlMs: 3_600_000 }));
  const foreign = svidToPem(foreignSvid(spiffeIds.service(probe.trustDomain, PAYMENTS), FEDERATION, probe.trustDomain));
  return {
    root: write('root.pem', toPem(root)),
    cert: write('member.pem', member.certPem),
    // What openssl sends behind the leaf.
    chain: write('member-chain.pem', member.certPem.slice(member.certPem.lastIndexOf('-----BEGIN'))),
    key: write('member-key.pem', member.keyPem),
    foreignCert: write('foreign.pem', foreign.certPem),
    foreignKey: write('foreign-key.pem', foreign.keyPem),
  };
}

const needs = (program: string, pack: string): string | false => (findProgram(program) === undefined ? `${program} is not installed (apt-get install ${pack})` : false);

test('curl gets an answer through the outbound listener, from this cluster and from the other', { skip: needs('curl', 'curl') }, async () => {
  for (const [service, cluster] of [[PAYMENTS, 'east'], [LEDGER, 'west']] as const) {
    const { host, port } = outboundOf(mesh.federation, 'vm-1', service);
    const finished = await run('curl', ['-sS', '--fail', '--max-time', '5', `http://${host}:${port}/hello?x=1`]);
    assert.equal(finished.code, 0, finished.stderr);
    const answer = JSON.parse(finished.stdout) as { cluster: string; path: string; caller: string };
    assert.deepEqual([answer.cluster, answer.path], [cluster, '/hello']);
    assert.match(answer.caller, /URI=spiffe:\/\/east\.demo\.isthmus\.example\/ns\/shop\/svc\/web/);
  }
});

test('curl’s own x-forwarded-client-cert and hop-by-hop headers do not reach the application', { skip: needs('curl', 'curl') }, async () => {
  const { host, port } = outboundOf(mesh.federation, 'vm-1', PAYMENTS);
  const finished = await run('curl', ['-sS', '--max-time', '5', '-H', 'x-forwarded-client-cert: URI=spiffe://evil.example/admin', '-H', 'Connection: x-secret', '-H', 'X-Secret: 1', `http://${host}:${port}/`]);
  assert.equal((JSON.parse(finished.stdout) as { caller: string }).caller.includes('evil'), false);
});

/** `openssl s_client` to a port with a name; with or without a client certificate. */
function sClient(port: number, extra: readonly string[]) {
  const request = 'GET / HTTP/1.1\r\nhost: payments\r\nconnection: close\r\n\r\n';
  return run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', NAME, '-CAfile', files.root, '-verify_return_error', '-ign_eof', ...extra], { input: request, limitMs: 10_000 });
}

for (const [what, port] of [['the gateway', () => mesh.federation.port(names.gateway('east'))], ['an inbound listener', () => mesh.federation.port(portNames.inbound('east-1', PAYMENTS))]] as const) {
  test(`openssl sees the workload’s SVID behind ${what}, its chain verifies, and it is answered with a certificate only`, { skip: needs('openssl', 'openssl') }, async () => {
    // The agents learn of a new member's bundle a moment after it joined.
    const good = await waitFor('an answer with a member’s certificate', 10_000, async () => {
      const tried = await sClient(port(), ['-cert', files.cert, '-key', files.key, '-cert_chain', files.chain]);
      return tried.stdout.includes('"instance"') ? tried : undefined;
    });
    assert.match(good.stdout, /Verify return code: 0 \(ok\)/, good.stderr);
    assert.match(good.stdout, /"instance":"payments-1"/);
    const pem = /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/.exec(good.stdout)?.[0] ?? '';
    const san = await run('openssl', ['x509', '-noout', '-ext', 'subjectAltName'], { input: pem });
    assert.match(san.stdout, new RegExp(`URI:spiffe://${EAST}/ns/shop/svc/payments`));
    for (const refused of [await sClient(port(), []), await sClient(port(), ['-cert', files.foreignCert, '-key', files.foreignKey])]) {
      assert.equal(refused.stdout.includes('"instance"'), false, 'no answer without a certificate of this federation');
    }
  });
}

test('openssl is told unrecognized_name for a service that is not exported', { skip: needs('openssl', 'openssl') }, async () => {
  const port = mesh.federation.port(names.gateway('east'));
  const refused = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', `http.vault.shop.svc.${EAST}`], { limitMs: 10_000 });
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /unrecognized name/);
});

test('dig finds mesh names at the agent, and nothing else', { skip: needs('dig', 'dnsutils') }, async () => {
  const dig = async (...args: string[]): Promise<string> => (await run('dig', ['@127.0.0.1', '-p', String(mesh.federation.port(portNames.dns('vm-1'))), '+tries=1', '+time=3', ...args])).stdout;
  assert.match(await dig('+short', 'payments.shop.svc.clusterset.local'), /^127\.\d+\.\d+\.\d+\n$/);
  assert.match(await dig('+tcp', '+short', 'PAYMENTS.shop.svc.clusterset.local'), /^127\./);
  assert.match(await dig('nothing.shop.svc.clusterset.local'), /status: NXDOMAIN/);
  assert.match(await dig('example.com'), /status: REFUSED/);
  assert.match(await dig('AAAA', 'payments.shop.svc.clusterset.local'), /status: NOERROR[^]*ANSWER: 0/);
});

test('etcdctl works on the embedded store: put, get by prefix, watch, lease, txn', { skip: needs('etcdctl', 'etcd-client') }, async () => {
  const tls = join(mesh.paths.state(names.controlPlane('east')), 'store-tls');
  const flags = ['--endpoints', `https://127.0.0.1:${mesh.federation.port(portNames.store('east'))}`, '--cacert', join(tls, 'ca.pem'), '--cert', join(tls, 'client.pem'), '--key', join(tls, 'client-key.pem')];
  const etcdctl = async (args: readonly string[], input = ''): Promise<string> => {
    const finished = await run('etcdctl', [...flags, ...args], { env: { ETCDCTL_API: '3' }, input });
    assert.equal(finished.code, 0, `${args.join(' ')}: ${finished.stderr}`);
    return finished.stdout;
  };
  assert.match(await etcdctl(['put', '/try/a', '1']), /^OK/);
  await etcdctl(['put', '/try/b', '2']);
  assert.equal(await etcdctl(['get', '--prefix', '/try/']), '/try/a\n1\n/try/b\n2\n');
  assert.match(await etcdctl(['txn'], 'value("/try/a") = "1"\n\nput /try/c 3\n\nput /try/d 4\n\n'), /SUCCESS/);
  assert.match(await etcdctl(['lease', 'grant', '60']), /lease [0-9a-f]+ granted with TTL\(60s\)/);
  const watched = run('etcdctl', [...flags, 'watch', '--rev=1', '--prefix', '/try/'], { env: { ETCDCTL_API: '3' }, limitMs: 2_000 });
  assert.match((await watched).stdout, /PUT\n\/try\/a\n1\nPUT\n\/try\/b\n2\nPUT\n\/try\/c\n3/);
  const status = await etcdctl(['endpoint', 'status']);
  assert.match(status, /127\.0\.0\.1/);
  const bare = await run('etcdctl', ['--endpoints', flags[1] ?? '', '--cacert', join(tls, 'ca.pem'), '--command-timeout', '3s', 'get', '/try/a'], { env: { ETCDCTL_API: '3' } });
  assert.notEqual(bare.code, 0, 'nobody reads the store without its client certificate');
});
