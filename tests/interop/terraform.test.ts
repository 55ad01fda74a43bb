// The real terraform with our provider: what it plans, makes, changes, mends, takes over and destroys in a running federation.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { clusterOf, DEMO_OPERATOR, type Finished, findProgram, isthmus, names, openOperator, type Operator, outboundOf, PAYMENTS, request, run, smallTopology, startFederation, startLink, type TestFederation, waitFor } from '@isthmus/harness';
import { startTestIssuer, type TestIssuer } from '@isthmus/identity/testing';
import { CLOCK_SKEW_MS, makeBundleDocument, toPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';

const terraform = findProgram('terraform');
const skip = terraform === undefined && 'terraform is not installed';
const LIMIT_MS = 120_000;
/** For so long after its end the admin API takes a token. */
const LEEWAY_SECONDS = CLOCK_SKEW_MS / 1_000;

const root = mkdtempSync(join(tmpdir(), 'isthmus-terraform-test-'));
const mirror = join(root, 'mirror');
const env = { CHECKPOINT_DISABLE: '1', TF_CLI_CONFIG_FILE: join(root, 'terraformrc'), TF_IN_AUTOMATION: '1', NODE_COMPILE_CACHE: join(root, 'node') };
const tokens = new Map<string, string>();
const partner = testAuthority({ federation: 'partner.example', cluster: 'mesh' });
let mesh: TestFederation;
let demo: Operator;
let issuer: TestIssuer;
let gateway: Awaited<ReturnType<typeof startLink>>;

const REQUIRED = `terraform {
  required_providers {
    isthmus = { source = "isthmus.example/isthmus/isthmus" }
  }
}`;

/** One configuration in its own folder. */
function workspace(name: string, settings: () => string) {
  const cwd = join(root, name);
  mkdirSync(cwd);
  const tf = (args: readonly string[]): Promise<Finished> => run(terraform ?? '', [...args], { cwd, env, limitMs: LIMIT_MS });
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await tf(args);
    assert.equal(code, 0, `terraform ${args.join(' ')}: ${stderr}\n${stdout}`);
    return stdout;
  };
  return {
    cwd,
    tf,
    ok,
    write: (body: string) => writeFileSync(join(cwd, 'main.tf'), `${REQUIRED}\nprovider "isthmus" {\n${settings()}\n}\n${body}`),
    apply: () => ok('apply', '-auto-approve', '-no-color', '-input=false'),
    /** 0: nothing to do; 2: changes. */
    plan: () => tf(['plan', '-detailed-exitcode', '-no-color', '-input=false']),
    outputs: async () => JSON.parse(await ok('output', '-json')) as Record<string, { readonly value: never }>,
    addresses: async () => (await ok('state', 'list')).trim().split('\n').filter((line) => line !== ''),
  };
}

const throughGateway = (port: () => number) => () => `  endpoints = ["127.0.0.1:${port()}"]
  federation = "${mesh.topology.federation}"
  cluster = "east"
  ca_certificate_file = "${join(root, 'root.pem')}"
  client_certificate_file = "${join(root, 'operator.pem')}"
  client_key_file = "${join(root, 'operator.key')}"`;

const settles = async (at: ReturnType<typeof workspace>): Promise<void> => {
  const { code, stdout, stderr } = await at.plan();
  assert.equal(code, 0, `there is more to do: ${stdout}\n${stderr}`);
};

/** Processes that run the mirror's provider. */
function providers(): readonly string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      return /terraform-provider\/src\/main\.ts/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(env.TF_CLI_CONFIG_FILE);
    } catch {
      return false;
    }
  });
}

const federation = workspace('federation', () => `  trust_root_socket = "${mesh.paths.socket(names.trustRoot)}"`);
const shop = workspace('shop', throughGateway(() => gateway.port));

before(async () => {
  if (skip !== false) return;
  const made = await isthmus(['terraform', 'mirror', mirror, '--cli-config', env.TF_CLI_CONFIG_FILE]);
  assert.equal(made.code, 0, made.stderr);
  issuer = await startTestIssuer();
  const rules = [{ match: { sub: 'pipeline' }, role: 'operator' }, { match: { sub: 'reader' }, role: 'viewer' }];
  const oidc = [{ name: 'corp', issuer: issuer.url, audience: 'isthmus', discover: true, caFile: issuer.caFile, rules }];
  const fromTerraform = (name: string): object => {
    if (name.endsWith('admin-api')) return { oidc };
    const token = tokens.get(name);
    if (token === undefined) return {};
    writeFileSync(join(root, name), `${token}\n`, { mode: 0o600 });
    return name.endsWith('control-plane') ? { bootstrapTokenFile: join(root, name) } : { joinTokenFile: join(root, name) };
  };
  mesh = await startFederation({ topology: smallTopology(['east-1', 'west-2']), start: false, adminApi: true, settings: fromTerraform });
  await mesh.federation.startTrustRoot();
}, { timeout: LIMIT_MS });
after(async () => {
  await demo?.close();
  await gateway?.close();
  await mesh?.close();
  await issuer?.close();
  rmSync(root, { recursive: true, force: true });
});

test('clusters join with the tokens terraform made, and plan has nothing more to do', { skip, timeout: LIMIT_MS * 3 }, async () => {
  federation.write(`
resource "isthmus_cluster" "all" {
  for_each = toset(["east", "west"])
  name     = each.key
}
output "tokens" {
  sensitive = true
  value     = { for name, c in isthmus_cluster.all : name => c.bootstrap_token }
}`);
  await federation.ok('init', '-no-color');
  const applied = await federation.apply();
  const made = (await federation.outputs())['tokens']?.value as unknown as Record<string, string>;
  for (const [name, token] of Object.entries(made)) {
    assert.match(token, /^ict1\./);
    assert.ok(!applied.includes(token), 'a secret is not printed');
    tokens.set(names.controlPlane(name), token);
  }
  await Promise.all(mesh.topology.clusters.map(async (cluster) => {
    await mesh.federation.startControlPlane(cluster);
    await Promise.all([mesh.federation.startGateway(cluster), mesh.federation.startAdminApi(cluster)]);
  }));
  await settles(federation);
  demo = await openOperator(mesh, 'east', DEMO_OPERATOR);
  gateway = await startLink(mesh.federation.port(names.adminApi('east')));
  writeFileSync(join(root, 'operator.pem'), demo.pem.certPem);
  writeFileSync(join(root, 'operator.key'), demo.pem.keyPem, { mode: 0o600 });
  const bundle = await demo.client.call<{ x509Authorities: string[] }>('getBundles', { params: { cluster: 'east', trustDomain: `east.${mesh.topology.federation}` } });
  writeFileSync(join(root, 'root.pem'), bundle.value.x509Authorities.map((der) => toPem(Buffer.from(der, 'base64'))).join(''));
});

const SHOP = (over: { readonly team?: string; readonly more?: string } = {}): string => `
resource "isthmus_peer" "west" {
  peer     = "west"
  timeouts = { create = "110s" }
}
resource "isthmus_service" "payments" {
  namespace = "shop"
  name      = "payments"
  ports     = [{ name = "http", port = 80, protocol = "http" }]
  labels    = { team = "${over.team ?? 'money'}" }
}
resource "isthmus_export" "payments" {
  namespace = isthmus_service.payments.namespace
  name      = isthmus_service.payments.name
  consumers = ["west"]
  foreign_callers = [{ trust_domain = isthmus_bundle_federation.partner.trust_domain }]
}
resource "isthmus_bundle_federation" "partner" {
  trust_domain = "${partner.trustDomain}"
  source       = { profile = "file" }
  bundle       = { document = file("partner.json"), sha256 = filesha256("partner.json") }
}
resource "isthmus_cluster" "north" {
  name = "north"
}
resource "isthmus_join_token" "vm" {
  for_each = { east-1 = "east", west-2 = "west" }
  cluster  = each.value
  agent    = each.key
  role     = "agent"
  services = ["shop/payments", "shop/ledger", "shop/vault"]
  depends_on = [isthmus_peer.west]
}
data "isthmus_cluster" "west" {
  name       = "west"
  depends_on = [isthmus_peer.west]
}
data "isthmus_gateway_addresses" "east" {}
data "isthmus_trust_bundle" "west" {
  trust_domain = data.isthmus_cluster.west.trust_domain
}
data "isthmus_status" "now" {
  depends_on = [isthmus_peer.west]
}
output "tokens" {
  sensitive = true
  value     = { for name, t in isthmus_join_token.vm : name => t.token }
}
output "read" {
  value = {
    west      = data.isthmus_cluster.west
    addresses = data.isthmus_gateway_addresses.east
    bundle    = data.isthmus_trust_bundle.west.pem
    partner   = [isthmus_bundle_federation.partner.state, isthmus_bundle_federation.partner.sequence]
    north     = [isthmus_cluster.north.member, isthmus_cluster.north.trust_domain]
    reachable = { for c in data.isthmus_status.now.clusters : c.name => c.reachable }
  }
}
${over.more ?? ''}`;

test('services, exports and tokens that terraform made carry a request across the clusters', { skip, timeout: LIMIT_MS * 3 }, async () => {
  shop.write(SHOP());
  writeFileSync(join(shop.cwd, 'partner.json'), makeBundleDocument(partner.bundle));
  await shop.ok('init', '-no-color');
  await shop.apply();
  const outputs = await shop.outputs();
  for (const [name, token] of Object.entries(outputs['tokens']?.value as unknown as Record<string, string>)) tokens.set(name, token);
  const read = outputs['read']?.value as unknown as { west: { trust_domain: string }; addresses: { addresses: string[]; server_names: Record<string, string> }; bundle: string; partner: unknown[]; north: unknown[]; reachable: object };
  assert.equal(read.west.trust_domain, `west.${mesh.topology.federation}`);
  assert.deepEqual(read.addresses.addresses, [`127.0.0.1:${mesh.federation.port(names.gateway('east'))}`]);
  assert.equal(read.addresses.server_names['admin'], `admin.isthmus.east.${mesh.topology.federation}`);
  assert.match(read.bundle, /^-----BEGIN CERTIFICATE-----/);
  assert.deepEqual(read.partner, ['ok', 1]);
  assert.deepEqual(read.north, [false, `north.${mesh.topology.federation}`]);
  assert.deepEqual(read.reachable, { east: true, west: true });
  const [east, west] = [clusterOf(mesh.topology, 'east'), clusterOf(mesh.topology, 'west')];
  const workload = east.agents[0]?.workload;
  assert.ok(workload !== undefined && east.agents[0] !== undefined && west.agents[0] !== undefined);
  await mesh.federation.startWorkload(east, workload);
  await Promise.all([mesh.federation.startAgent(east, east.agents[0]), mesh.federation.startAgent(west, west.agents[0])]);
  const answer = await waitFor('east to answer west', LIMIT_MS, async () => {
    const outcome = await request(outboundOf(mesh.federation, 'west-2', PAYMENTS));
    assert.ok(outcome.ok, outcome.ok ? '' : outcome.why);
    return outcome;
  });
  assert.equal(answer.cluster, 'east');
  await settles(shop);
});

test('a change is made in place, drift is seen and mended, and what is gone is made again', { skip, timeout: LIMIT_MS * 3 }, async () => {
  const at = { params: { cluster: 'east', namespace: 'shop', name: 'payments' } };
  shop.write(SHOP({ team: 'risk' }));
  assert.match(await shop.apply(), /0 added, 1 changed, 0 destroyed/);
  assert.deepEqual((await demo.client.call<{ labels: object }>('getServices', at)).value.labels, { team: 'risk' });
  await demo.client.call('deleteExports', at);
  await demo.client.call('putServices', { ...at, body: { kind: 'service', namespace: 'shop', name: 'payments', ports: [{ name: 'http', port: 81, protocol: 'http' }] } });
  const drift = await shop.plan();
  assert.equal(drift.code, 2, drift.stderr);
  assert.match(drift.stdout, /1 to add, 1 to change, 0 to destroy/);
  assert.match(await shop.apply(), /1 added, 1 changed, 0 destroyed/);
  assert.deepEqual((await demo.client.call<{ ports: object[] }>('getServices', at)).value.ports, [{ name: 'http', port: 80, protocol: 'http' }]);
  await settles(shop);
});

test('every example of the reference is valid, and a wrong value is one error at plan time that names its attribute', { skip, timeout: LIMIT_MS * 2 }, async () => {
  const bad = workspace('bad', () => '');
  const page = readFileSync(new URL('../../docs/reference/terraform.md', import.meta.url), 'utf8');
  const examples = [...page.matchAll(/```hcl\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  assert.ok(examples.length >= 11, `${examples.length} examples`);
  writeFileSync(join(bad.cwd, 'main.tf'), [REQUIRED, ...examples].join('\n'));
  writeFileSync(join(bad.cwd, 'partner.json'), '{}');
  await bad.ok('init', '-no-color');
  await bad.ok('validate', '-no-color');
  bad.write(`
resource "isthmus_service" "port" {
  namespace = "shop"
  name      = terraform_data.later.id
  ports     = [{ name = "http", port = 80, protocol = "http" }, { name = "api", port = 70000, protocol = "grpc" }]
}
resource "terraform_data" "later" {}
resource "isthmus_export" "caller" {
  namespace       = "shop"
  name            = "payments"
  consumers       = ["*"]
  foreign_callers = [{ trust_domain = "partner.example", spiffe_ids = ["spiffe://other.example/a"] }]
}
resource "isthmus_join_token" "limit" {
  agent    = "vm"
  role     = "king"
  timeouts = { create = "soon" }
}
resource "isthmus_peer" "itself" {
  cluster = "east"
  peer    = "East"
}
resource "isthmus_cluster" "long" {
  name                        = "east"
  bootstrap_token_ttl_seconds = 0
}`);
  const { code, stdout } = await bad.tf(['validate', '-json']);
  assert.equal(code, 1);
  type Found = { summary: string; detail: string; range?: { start: { line: number } }; snippet?: { context: string } };
  const found = (JSON.parse(stdout) as { diagnostics: Found[] }).diagnostics;
  assert.deepEqual(found.map(({ summary }) => summary.replace('Wrong value of ', '')).toSorted(), [
    'bootstrap_token_ttl_seconds', 'foreign_callers[0].spiffe_ids[0]', 'peer', 'ports[1].port', 'role', 'timeouts.create',
  ]);
  for (const { summary, snippet } of found) assert.ok(snippet !== undefined, `${summary} points at its place`);
});

const LEDGER = `
resource "isthmus_service" "ledger" {
  cluster   = "west"
  namespace = "shop"
  name      = "ledger"
  ports     = [{ name = "http", port = 80, protocol = "http" }]
}`;

test('where things of several are refused, the state holds what was made and no more; what others made is taken over by import', { skip, timeout: LIMIT_MS * 3 }, async () => {
  const ledger = { kind: 'service', namespace: 'shop', name: 'ledger', ports: [{ name: 'http', port: 80, protocol: 'http' }] };
  await demo.client.call('putServices', { params: { cluster: 'west', namespace: 'shop', name: 'ledger' }, body: ledger });
  shop.write(SHOP({ team: 'risk', more: `${LEDGER}
resource "isthmus_service" "extra" {
  namespace = "shop"
  name      = "extra"
  ports     = [{ name = "http", port = 80, protocol = "http" }]
}
resource "isthmus_export" "nothing" {
  namespace = "shop"
  name      = "absent"
  consumers = ["*"]
}` }));
  const { code, stderr } = await shop.tf(['apply', '-auto-approve', '-no-color']);
  assert.equal(code, 1);
  assert.match(stderr, /Cannot create isthmus_export[\s\S]*no such service is declared[\s\S]*CONTROL_PLANE_EXPORT_WITHOUT_SERVICE/);
  assert.match(stderr, /west\/shop\/ledger is there already[\s\S]*terraform\s+import\s+isthmus_service\.NAME\s+west\/shop\/ledger/);
  const kept = await shop.addresses();
  assert.deepEqual(['isthmus_service.extra', 'isthmus_export.nothing', 'isthmus_service.ledger'].map((address) => kept.includes(address)), [true, false, false]);
  shop.write(SHOP({ team: 'risk', more: LEDGER }));
  await shop.ok('import', '-no-color', 'isthmus_service.ledger', 'west/shop/ledger');
  // What is no longer in the configuration goes; what was taken over is as it was.
  assert.match(await shop.apply(), /0 added, 0 changed, 1 destroyed/);
  await settles(shop);
});

test('an interrupt ends a write that nobody answers, leaves no process, and a state that finds out what became of it', { skip, timeout: LIMIT_MS * 2 }, async () => {
  const one = workspace('one', throughGateway(() => gateway.port));
  one.write(`
resource "isthmus_service" "late" {
  namespace = "shop"
  name      = "late"
  ports     = [{ name = "http", port = 80, protocol = "http" }]
}`);
  await one.ok('init', '-no-color');
  gateway.cut('swallow');
  const child = spawn(terraform ?? '', ['apply', '-auto-approve', '-no-color'], { cwd: one.cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  try {
    await waitFor('the write', LIMIT_MS, () => (said.includes('isthmus_service.late: Creating...') && providers().length > 0) || undefined);
    child.kill('SIGINT');
    assert.equal(await ended, 1);
    assert.match(said, /Terraform was interrupted/);
    await waitFor('the provider to end', LIMIT_MS, () => providers().length === 0 || undefined);
  } finally {
    child.kill('SIGKILL');
    gateway.heal();
  }
  const next = await one.plan();
  assert.match(next.stdout, /1 to add, 0 to change, 0 to destroy/, next.stderr);
});

const PIPELINE = (count: number, port = 80): string => `
resource "isthmus_service" "pipe" {
  count     = ${count}
  namespace = "shop"
  name      = "pipe-${'${count.index}'}"
  ports     = [{ name = "http", port = ${port}, protocol = "http" }]
}`;

test('with a bearer token: a role that may not, and a token that ran out before or in the middle, are said and leave a true state', { skip, timeout: LIMIT_MS * 4 }, async () => {
  const tokenFile = join(root, 'bearer');
  const give = (claims: object): void => writeFileSync(tokenFile, issuer.token({ sub: 'pipeline', ...claims }), { mode: 0o600 });
  const pipeline = workspace('pipeline', () => throughGateway(() => gateway.port)().replace(/ {2}client_certificate_file[^]*/, `  token_file = "${tokenFile}"`));
  const made = async (): Promise<number> => (await demo.client.call<{ items: { key: string }[] }>('listServices', { params: { cluster: 'east' }, query: { limit: '1000' } })).value.items.filter((i) => i.key.startsWith('shop/pipe-')).length;
  const apply = (...more: string[]) => pipeline.tf(['apply', '-auto-approve', '-no-color', '-input=false', ...more]);
  const flat = (text: string): string => text.replace(/\s*│?\s+/g, ' ');
  give({});
  pipeline.write(PIPELINE(2));
  await pipeline.ok('init', '-no-color');
  await pipeline.apply();
  await settles(pipeline);

  give({ sub: 'reader' });
  pipeline.write(PIPELINE(2, 81));
  const denied = await apply();
  assert.equal(denied.code, 1);
  assert.match(flat(denied.stderr), /Cannot update isthmus_service.* oidc:corp:reader has none of the roles operator \(API_DENIED\).* Grants are in the configuration of the admin API/);
  pipeline.write(PIPELINE(2));
  await settles(pipeline);

  give({ iat: 1, exp: 2 });
  const expired = await pipeline.plan();
  assert.equal(expired.code, 1);
  assert.match(flat(expired.stderr), /the bearer token is refused \(expired\).*\(API_UNAUTHENTICATED\) Get a new one from its issuer/);
  assert.ok(!expired.stderr.includes(readFileSync(tokenFile, 'utf8')), 'a token is in no message');

  // In the middle: what was made is in the state, the rest is said to be refused, and a new token goes on from there.
  const lastsMs = 10_000;
  const endsAtMs = Date.now() + lastsMs;
  give({ exp: Math.floor(endsAtMs / 1_000) - LEEWAY_SECONDS });
  pipeline.write(PIPELINE(60));
  const running = apply('-parallelism=1');
  await waitFor('the first of them', lastsMs, async () => (await made()) > 2 || undefined);
  gateway.cut('refuse');
  await waitFor('the token to run out', LIMIT_MS, () => Date.now() > endsAtMs + 1_000 || undefined);
  gateway.heal();
  const cutShort = await running;
  assert.equal(cutShort.code, 1);
  assert.match(flat(cutShort.stderr), /Cannot create isthmus_service.*\(expired\).*Get a new one from its issuer/);
  const [there, kept] = [await made(), (await pipeline.addresses()).length];
  assert.ok(there > 2 && there < 60, `${there} were made`);
  assert.ok(kept === there || kept === there + 1, `${kept} are in the state, ${there} are there: of the one that was under way nobody could tell:\n${cutShort.stderr}`);
  give({});
  // What nobody could tell of is tainted: if it is there, Terraform makes it anew.
  const [, added, destroyed] = /(\d+) added, 0 changed, (\d+) destroyed/.exec(await pipeline.apply()) ?? [];
  assert.equal(Number(added) - Number(destroyed), 60 - there);
  assert.ok(Number(destroyed) <= 1, `${destroyed} were made anew`);
  await settles(pipeline);
  await pipeline.ok('destroy', '-auto-approve', '-no-color');
  assert.equal(await made(), 0);
});

test('destroy takes everything away, clusters last', { skip, timeout: LIMIT_MS * 3 }, async () => {
  await shop.ok('destroy', '-auto-approve', '-no-color');
  assert.deepEqual(await shop.addresses(), []);
  shop.write('');
  await settles(shop);
  const { value } = await demo.client.call<{ items: { key: string }[] }>('listServices', { params: { cluster: 'east' } });
  assert.deepEqual(value.items, []);
  await federation.ok('destroy', '-auto-approve', '-no-color');
  assert.deepEqual((await mesh.federation.trustRootAdmin().federation()).members, []);
});
