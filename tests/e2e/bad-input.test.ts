// Bad input: each gives one clear error that names what is wrong and where, a status that says so, and changes nothing.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { appMain, clusterOf, isthmus, names, openClusterStore, outboundOf, PAYMENTS, request, run, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-bad-'));
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-2']) });
}, { timeout: 60_000 });
after(async () => {
  await mesh.close();
  rmSync(directory, { recursive: true, force: true });
});

const cli = (...args: string[]) => isthmus([...args, '--state', mesh.paths.root]);
const declared = async (): Promise<string> => JSON.stringify([await mesh.federation.admin('east').list('service'), await mesh.federation.admin('east').list('export')]);

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const SERVICE = 'kind: service\nnamespace: shop\nname: cart\nports:\n  - { name: http, port: 80, protocol: http }\n';

test('a document that is malformed, of an unknown kind or with unknown fields changes nothing and is named by file and line', async () => {
  const before = await declared();
  for (const [name, text, message] of [
    ['malformed.yaml', 'kind: [service\n', /malformed\.yaml:\d+: /],
    ['unknown.yaml', `${SERVICE}replicas: 3\n`, /unknown\.yaml:6: unknown field "replicas"/],
    ['kind.yaml', 'kind: gateway\nname: x\n', /kind\.yaml:1: kind: "gateway" is unknown/],
    ['label.yaml', SERVICE.replace('cart', 'Cart_1'), /label\.yaml:3: name: must be a DNS label/],
    ['half.yaml', `${SERVICE}---\n${SERVICE.replace('cart', 'second').replace('port: 80', 'port: 0')}`, /half\.yaml:11: ports\[0\]\.port/],
    ['broken.json', '{"kind":"service",', /broken\.json:1/],
  ] as const) {
    const finished = await cli('apply', '-f', file(name, text));
    assert.equal(finished.code, 65, `${name}: ${finished.stderr}`);
    assert.match(finished.stderr, message);
  }
  assert.equal(await declared(), before);
});

test('names given as arguments are checked the same way', async () => {
  for (const args of [['service', 'apply', 'shop/Cart', '--port', 'http=80/http'], ['service', 'apply', 'cart', '--port', 'http=80/http'], ['service', 'apply', 'shop/cart', '--port', 'http:80'], ['token', 'create', 'Not_A_Label'], ['cluster', 'token', 'create', 'UPPER'], ['token', 'create', 'a', '--ttl', 'soon']]) {
    const finished = await cli(...args);
    assert.equal(finished.code, 65, `${args.join(' ')}: ${finished.stderr}`);
    assert.match(finished.stderr, /code: CLI_BAD_INPUT/);
  }
});

test('what the control plane refuses reaches the shell with its code and exit', async () => {
  const absent = await cli('export', 'apply', 'shop/nothing');
  assert.notEqual(absent.code, 0);
  assert.match(absent.stderr, /no such service is declared[^]*code: CONTROL_PLANE_EXPORT_WITHOUT_SERVICE/);
  const missing = await cli('service', 'delete', 'shop/nothing');
  assert.equal(missing.code, 66);
});

test('a duplicate cluster name is refused and the member that has it is untouched', async () => {
  const before = await mesh.federation.trustRootAdmin().federation();
  const refused = await cli('cluster', 'token', 'create', 'west');
  assert.equal(refused.code, 73, refused.stderr);
  assert.match(refused.stderr, /west/);
  assert.deepEqual(await mesh.federation.trustRootAdmin().federation(), before);
});

test('a configuration with an unknown key or a bad value ends the program with every problem by line', async () => {
  const config = file('gateway.yaml', 'stateDir: /nowhere\nlisten:\n  host: 127.0.0.1\n  prot: 1\n');
  const { code, stderr } = await runApp('gateway', config);
  assert.notEqual(code, 0);
  assert.match(stderr, /gateway\.yaml:4: listen\.prot: unknown key \(did you mean port\?\)/);
});

test('a join token that is used, expired, garbage or of another cluster is refused in words', async () => {
  const { token: used } = await mesh.federation.admin('east').createJoinToken({ agent: 'once', role: 'agent', services: [], ttlSeconds: 60 });
  const { token: expired } = await mesh.federation.admin('east').createJoinToken({ agent: 'late', role: 'agent', services: [], ttlSeconds: 1 });
  const { token: elsewhere } = await mesh.federation.admin('west').createJoinToken({ agent: 'other', role: 'agent', services: [], ttlSeconds: 60 });
  assert.equal((await joinWith('once', used, true)).isReady, true);
  const entries = await mesh.federation.admin('east').list('entry');
  await waitFor('the token to expire', 5_000, async () => {
    const token = (await mesh.federation.admin('east').list('join-token')).find((t) => t['agent'] === 'late');
    return token === undefined || Number(token['expiresAtMs']) < Date.now() ? true : undefined;
  }, 100);
  for (const [name, token, message] of [
    ['twice', used, /used|spent/i],
    ['late', expired, /expired/i],
    ['garbage', 'ijt_this-is-no-token', /token/i],
    ['other', elsewhere, /token|pin|root|cluster/i],
  ] as const) {
    const { isReady, stderr } = await joinWith(name, token, false);
    assert.equal(isReady, false, name);
    assert.match(stderr, message, name);
    assert.equal(stderr.includes(token), false, 'the token itself is never printed');
  }
  assert.deepEqual(await mesh.federation.admin('east').list('entry'), entries, 'no refused token made an entry');
});

test('a record in the store that does not parse is skipped and reported, and the rest goes on', async () => {
  const store = await openClusterStore(mesh, 'east');
  try {
    await store.put('resources/service/shop/garbage', '{"kind":"service",');
    await store.put('resources/service/shop/liar', JSON.stringify({ kind: 'service', namespace: 'shop', name: 'another', ports: [{ name: 'http', port: 80, protocol: 'http' }] }));
    const refused = await waitFor('both records to be reported', 10_000, async () => {
      const list = await mesh.federation.admin('east').list('refused');
      return list.length === 2 ? list : undefined;
    });
    assert.deepEqual(refused.map((r) => r['key']).toSorted(), ['resources/service/shop/garbage', 'resources/service/shop/liar']);
    await mesh.federation.admin('east').apply({ kind: 'service', namespace: 'shop', name: 'after', ports: [{ name: 'http', port: 80, protocol: 'http' }] });
    await waitFor('a good record to be taken still', 5_000, async () => ((await mesh.federation.admin('east').list('service')).some((s) => s['name'] === 'after') ? true : undefined));
    assert.equal((await request(outboundOf(mesh.federation, 'vm-1', PAYMENTS))).ok, true);
  } finally {
    await store.close();
  }
});

async function runApp(app: Parameters<typeof appMain>[0], config: string): Promise<{ readonly code: number | null; readonly stderr: string }> {
  return run(process.execPath, [appMain(app), '--config', config]);
}

/** Starts an agent of east with a token; ends it again once it is ready, or says why it was not. */
async function joinWith(name: string, token: string, wantReady: boolean): Promise<{ readonly isReady: boolean; readonly stderr: string }> {
  const cluster = clusterOf(mesh.topology, 'east');
  const controlPlane = `127.0.0.1:${mesh.federation.port(names.controlPlane(cluster.name))}`;
  const config = file(`${name}.yaml`, `stateDir: ${join(directory, name)}\nserver: { address: "${controlPlane}" }\njoinTokenFile: ${file(`${name}.token`, token)}\nadminSocket: ${join(directory, `${name}.sock`)}\n`);
  // `timeout` ends the one that joins well; the others end by themselves with an error.
  const finished = await run('timeout', [wantReady ? '6' : '15', process.execPath, appMain('agent'), '--config', config], { limitMs: 20_000 });
  return { isReady: /"msg":"ready"/.test(finished.stdout), stderr: finished.stderr };
}
