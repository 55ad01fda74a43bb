// The Terraform modules by themselves: what they write is what programs, cloud-init and systemd take, and nonsense is refused by name.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Finished, findProgram, run } from '@isthmus/harness';
import { parseWorkload } from '@isthmus/model';
import { loadConfig, parseYaml } from '@isthmus/runtime';
import { configSchema as adminApi } from '../../apps/admin-api/src/config.ts';
import { configSchema as agent } from '../../apps/agent/src/config.ts';
import { configSchema as controlPlane } from '../../apps/control-plane/src/config.ts';
import { configSchema as gateway } from '../../apps/gateway/src/config.ts';
import { configSchema as trustRoot } from '../../apps/trust-root/src/config.ts';

const MODULES = fileURLToPath(new URL('../../infra/terraform/modules', import.meta.url));
const UNITS = fileURLToPath(new URL('../../infra/systemd', import.meta.url));
const EXAMPLES = fileURLToPath(new URL('../../infra/terraform', import.meta.url));
const skip = findProgram('terraform') === undefined && 'terraform is not installed';
/** How each program reads its configuration; throws where it would not start. */
const PROGRAMS: Readonly<Record<string, (argv: readonly string[]) => unknown>> = {
  'trust-root': (argv) => loadConfig({ program: 'trust-root', schema: trustRoot, argv, env: {} }),
  'control-plane': (argv) => loadConfig({ program: 'control-plane', schema: controlPlane, argv, env: {} }),
  gateway: (argv) => loadConfig({ program: 'gateway', schema: gateway, argv, env: {} }),
  'admin-api': (argv) => loadConfig({ program: 'admin-api', schema: adminApi, argv, env: {} }),
  agent: (argv) => loadConfig({ program: 'agent', schema: agent, argv, env: {} }),
};

type HostFile = { readonly path: string; readonly content: string; readonly permissions: string; readonly owner: string };
type Host = { readonly files: readonly HostFile[]; readonly units: readonly string[]; readonly user_data: string };

const GOOD = `
module "federation" {
  source         = "${MODULES}//federation"
  trust_domain   = "acme.example"
  address        = "10.0.0.1"
  operators      = [{ cluster = "east", may = ["fence", "members"] }]
  key_passphrase = "a passphrase: with \\"quotes\\""
  packages       = [{ url = "https://packages.example/isthmus_0.1.0_amd64.deb", sha256 = "${'0123456789abcdef'.repeat(4)}" }]
}
module "cluster" {
  source           = "${MODULES}//cluster"
  name             = "east"
  federation       = module.federation
  locality         = "europe/a"
  host             = { name = "east-1", address = "10.1.0.2" }
  public_addresses = ["203.0.113.10:15443"]
  gateway_workers  = 2
  grants           = [{ who = "spiffe://east.acme.example/operator/terraform", role = "operator" }, { who = "oidc:company:bob", role = "viewer", namespaces = ["shop"] }]
  oidc             = [{ name = "company", issuer = "https://login.example", audience = "isthmus://east", discover = true, rules = [{ match = { groups = "platform" }, role = "operator" }] }]
  forwarders       = { west = ["viewer"] }
  etcd_members     = { east-1 = { address = "10.1.0.2" }, etcd-2 = { address = "10.1.0.3" }, etcd-3 = { address = "10.1.0.4" } }
  etcd_tls         = { ca = "CA\\n", client_cert = "CERT\\n", client_key = "KEY\\n", members = { for name in ["east-1", "etcd-2", "etcd-3"] : name => { cert = "CERT of \${name}\\n", key = "KEY of \${name}\\n" } } }
}
module "hsm" {
  source       = "${MODULES}//federation"
  trust_domain = "acme.example"
  address      = "10.0.0.1"
  key_pkcs11   = { module = "/usr/lib/softhsm/libsofthsm2.so", token = "root", pin = "KEY of the token" }
}
module "vm" {
  source     = "${MODULES}//vm-agent"
  name       = "vm-1"
  server     = module.cluster.gateways[0]
  join_token = "ijt1.body.secret"
  address    = "10.2.0.5"
  call_as    = "shop/web"
  listeners  = { "shop/ledger" = { port = 8100 } }
  workloads  = { payments-1 = { namespace = "shop", service = "payments", ports = { http = 8080 }, labels = { version = "2" }, health_check = { kind = "http", path = "/healthz", interval_ms = 500 } } }
}
output "hosts" {
  sensitive = true
  value = merge(
    { trust-root = { files = module.federation.files, units = module.federation.units, user_data = module.federation.user_data } },
    { hsm = { files = module.hsm.files, units = module.hsm.units, user_data = module.hsm.user_data } },
    { for name in keys(module.cluster.addresses) : name => { files = module.cluster.files[name], units = module.cluster.units[name], user_data = module.cluster.user_data[name] } },
    { vm = { files = module.vm.files, units = module.vm.units, user_data = module.vm.user_data } },
  )
}
`;

let directory: string;
let hosts: Readonly<Record<string, Host>>;

const terraform = (args: readonly string[], cwd = directory): Promise<Finished> => run('terraform', args, { cwd, env: { CHECKPOINT_DISABLE: '1', TF_CLI_CONFIG_FILE: join(directory, 'terraformrc') }, limitMs: 120_000 });

before(async () => {
  if (skip !== false) return;
  directory = mkdtempSync(join(tmpdir(), 'isthmus-modules-'));
  writeFileSync(join(directory, 'terraformrc'), '');
  writeFileSync(join(directory, 'main.tf'), GOOD);
  for (const args of [['init', '-no-color'], ['apply', '-auto-approve', '-no-color']]) {
    const { code, stderr } = await terraform(args);
    assert.equal(code, 0, stderr);
  }
  hosts = (JSON.parse((await terraform(['output', '-json'])).stdout) as { hosts: { value: Record<string, Host> } }).hosts.value;
}, { timeout: 240_000 });
after(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

const writeIn = (root: string, path: string, content: string): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
};
const everyFile = (): readonly HostFile[] => Object.values(hosts).flatMap((host) => host.files);
const yamlOf = (text: string, path: string): unknown => {
  const read = parseYaml(text, path);
  assert.ok(read.ok, `${path} is no YAML`);
  return read.value[0]?.value;
};

test('all of infra/terraform is formatted', { skip }, async () => {
  const { code, stdout } = await terraform(['fmt', '-check', '-recursive', EXAMPLES]);
  assert.equal(code, 0, stdout);
});

test('the clouds’ examples differ in how machines come to be, and in nothing else', () => {
  const [first, ...others] = ['aws', 'azure', 'gcp', 'libvirt'].map((cloud) => readFileSync(join(EXAMPLES, 'examples', cloud, 'federation.tf'), 'utf8'));
  assert.deepEqual(others, [first, first, first]);
});

test('each program takes the configuration that is written for it, and the agent the workloads', { skip }, () => {
  const seen = new Set<string>();
  for (const { path, content } of everyFile().filter((file) => file.path.endsWith('.yaml'))) {
    const name = path.split('/').at(-1) ?? '';
    seen.add(name);
    if (path.includes('/workloads.d/')) {
      const parsed = parseWorkload(yamlOf(content, path));
      assert.ok(parsed.ok, JSON.stringify(parsed));
      continue;
    }
    const file = join(directory, name);
    writeFileSync(file, content);
    const read = PROGRAMS[name.replace('.yaml', '')];
    assert.ok(read, `no program reads ${path}`);
    read(['--config', file]);
  }
  assert.deepEqual([...seen].sort(), ['admin-api.yaml', 'agent.yaml', 'control-plane.yaml', 'gateway.yaml', 'payments-1.yaml', 'trust-root.yaml']);
});

test('what is secret is for its owner’s eyes only, and everything secret is', { skip }, () => {
  const secret = everyFile().filter(({ content }) => /^KEY|ijt1|passphrase: with/m.test(content));
  assert.deepEqual([...new Set(secret.map(({ permissions }) => permissions))], ['0600']);
  assert.deepEqual([...new Set(secret.map(({ owner }) => owner))].sort(), ['etcd', 'isthmus']);
  assert.equal(secret.length, 1 + 1 + 1 + 3 + 1, 'passphrase, PIN, client key, three member keys, join token');
});

test('the user-data of each host holds its files, verifies packages before it installs them, and starts its units last', { skip }, async () => {
  for (const [name, { files, units, user_data: text }] of Object.entries(hosts)) {
    assert.ok(text.startsWith('#cloud-config\n'), name);
    const data = yamlOf(text, name) as { readonly write_files: readonly Record<string, string>[]; readonly packages?: readonly string[]; readonly runcmd: readonly (readonly string[])[] };
    assert.deepEqual(data.write_files.map(({ path, content, permissions }) => ({ path, content, permissions })), files.map(({ path, content, permissions }) => ({ path, content, permissions })));
    const script = data.runcmd[0]?.[2] ?? '';
    const checked = await run('sh', ['-n', '-c', script]);
    assert.equal(checked.code, 0, checked.stderr);
    const steps = ['set -eu', ...files.filter((f) => f.owner !== '').map((f) => `chown '${f.owner}:' '${f.path}'`), ...units.map((unit) => `systemctl restart --no-block ${unit}.service`)];
    assert.deepEqual(script.split('\n').filter((line) => steps.includes(line)), steps);
    if (name !== 'trust-root') continue;
    assert.deepEqual(data.packages, ['ca-certificates', 'curl'], 'what fetches them comes first');
    assert.ok(script.indexOf('sha256sum -c') < script.indexOf('apt-get install') && script.indexOf('sha256sum -c') > 0, 'the checksum comes first');
  }
});

const noCloudInit = findProgram('cloud-init') === undefined && 'cloud-init is not installed';
test('cloud-init finds nothing wrong with any host’s user-data', { skip: skip || noCloudInit }, async () => {
  // One of each kind: cloud-init takes seconds for each.
  const files = ['trust-root', 'east-1', 'vm'].map((name) => {
    const host = hosts[name];
    assert.ok(host);
    const file = join(directory, `${name}.yaml`);
    writeFileSync(file, host.user_data);
    return file;
  });
  for (const file of files) {
    const { code, stdout, stderr } = await run('cloud-init', ['schema', '--config-file', file], { limitMs: 60_000 });
    assert.equal(code, 0, `${file}: ${stdout}${stderr}`);
  }
});

const noSystemd = findProgram('systemd-analyze') === undefined && 'systemd-analyze is not installed';
test('systemd finds nothing wrong with any host’s units and drop-ins', { skip: skip || noSystemd }, async () => {
  for (const [name, { files, units }] of Object.entries(hosts)) {
    const root = mkdtempSync(join(directory, 'root-'));
    cpSync(UNITS, join(root, 'usr/lib/systemd/system'), { recursive: true });
    for (const unit of units) {
      // Of the distribution; only their drop-ins are ours.
      if (!unit.startsWith('isthmus')) writeIn(root, `/usr/lib/systemd/system/${unit}.service`, '[Service]\nExecStart=/usr/bin/etcd\n');
      writeIn(root, `/usr/bin/${unit}`, '');
      chmodSync(join(root, 'usr/bin', unit), 0o755);
    }
    for (const target of ['sysinit', 'basic', 'shutdown', 'network-online', 'multi-user']) writeIn(root, `/usr/lib/systemd/system/${target}.target`, '[Unit]\n');
    for (const program of ['bin/sh', 'bin/kill', 'usr/bin/etcd']) {
      writeIn(root, `/${program}`, '');
      chmodSync(join(root, program), 0o755);
    }
    for (const file of files) writeIn(root, file.path, file.content);
    const { code, stderr } = await run('systemd-analyze', ['verify', '--man=no', `--root=${root}`, ...units.map((unit) => `${unit}.service`)], { limitMs: 60_000 });
    const said = stderr.split('\n').filter((line) => units.some((unit) => line.includes(`${unit}.service`)));
    assert.deepEqual(said, [], name);
    assert.ok(code === 0 || said.length === 0, stderr);
  }
});

/** What one plan says to nonsense, as one line. */
async function refusalOf(config: string): Promise<string> {
  const cwd = mkdtempSync(join(directory, 'bad-'));
  writeFileSync(join(cwd, 'main.tf'), config);
  const made = await terraform(['init', '-no-color'], cwd);
  assert.equal(made.code, 0, made.stderr);
  const { code, stderr } = await terraform(['plan', '-no-color'], cwd);
  assert.equal(code, 1);
  return stderr.replace(/^│ ?/gm, '').replaceAll('\n', ' ');
}

test('nonsense in any variable is refused in one plan, each by the variable’s name', { skip, timeout: 120_000 }, async () => {
  const whole = Object.keys(SENSIBLE).map((module) => block(module, module, Object.fromEntries(NONSENSE.filter(([of]) => of === module).map(([, name, , value]) => [name, value]))));
  const text = await refusalOf([...whole, blocks(ALONE)].join(''));
  assert.deepEqual([...NONSENSE, ...ALONE].filter(([, , said]) => !text.includes(said)).map(([module, name, said]) => `${module}.${name}: ${said}`), []);
});

test('variables that make no sense together are refused, by the name of the one to change', { skip, timeout: 120_000 }, async () => {
  const text = await refusalOf(blocks(SUBTLE));
  assert.deepEqual(SUBTLE.filter(([, , said]) => !text.includes(said)).map(([module, name, said]) => `${module}.${name}: ${said}`), []);
});

/** Module, variable, what the refusal begins with, and the nonsense. */
const NONSENSE: readonly (readonly [string, string, string, string])[] = [
  ['federation', 'trust_domain', 'trust_domain: must be lower-case', '"Acme Example"'],
  ['federation', 'address', 'address: must be a host name', '"https://10.0.0.1"'],
  ['federation', 'port', 'port: must be a whole number', '70000'],
  ['federation', 'key_kind', 'key_kind: must be ec-p256', '"ed25519"'],
  ['federation', 'key_passphrase', 'key_passphrase: must be one line', '"short"'],
  ['federation', 'intermediate_ttl', 'intermediate_ttl: must be a number', '"a day"'],
  ['federation', 'admission_token_ttl', 'admission_token_ttl: must be a number', '"1 hour"'],
  ['federation', 'root_dir', 'root_dir: must be empty', '"relative/"'],
  ['federation', 'listen_host', 'listen_host: must be an IP address', '"0.0.0.0:7000"'],
  ['federation', 'loopback_host', 'loopback_host: must be an IP address', '"https://a"'],
  ['federation', 'user', 'user: must be the name', '"root; reboot"'],
  ['cluster', 'listen_host', 'listen_host: must be an IP address', '"any"'],
  ['cluster', 'loopback_host', 'loopback_host: must be an IP address', '""'],
  ['cluster', 'user', 'user: must be the name', '"Isthmus"'],
  ['cluster', 'etcd_user', 'etcd_user: must be the name', '"-"'],
  ['vm-agent', 'loopback_host', 'loopback_host: must be an IP address', '"127.0.0.1/8"'],
  ['vm-agent', 'user', 'user: must be the name', '"a:b"'],
  ['cluster', 'name', 'name: must be 1 to 32', '"East_1"'],
  ['cluster', 'locality', 'locality: must be up to three', '"Europe"'],
  ['cluster', 'host', 'host: its address', '{ name = "east-1", address = "10.0.0.1:7100" }'],
  ['cluster', 'public_addresses', 'public_addresses: each must be host:port', '["203.0.113.10"]'],
  ['cluster', 'gateway_port', 'gateway_port: must be a whole', '0'],
  ['cluster', 'gateway_workers', 'gateway_workers: must be a whole', '1.5'],
  ['cluster', 'grants', 'grants: each role', '[{ who = "spiffe://east.acme.example/operator/a", role = "root" }]'],
  ['cluster', 'oidc', 'oidc: each issuer must be https', '[{ name = "company", issuer = "https://login.example", audience = "a" }]'],
  ['cluster', 'operator', 'operator: must be', '"Alice"'],
  ['cluster', 'embedded_store_port', 'embedded_store_port: must be', '-1'],
  ['cluster', 'etcd_members', 'etcd_members: must be 1, 3, 5 or 7', '{ a = { address = "10.0.0.1" }, b = { address = "10.0.0.2" } }'],
  ['cluster', 'reach', 'reach: both commands', '{ trust_root = "ssh root@10.0.0.1", host = " " }'],
  ['cluster', 'bootstrap_token', 'bootstrap_token: this is no', '"ijt1.a.b"'],
  ['vm-agent', 'name', 'name: must be 1 to 63', '"vm_1"'],
  ['vm-agent', 'server', 'server: must be host:port', '"gateway.example"'],
  ['vm-agent', 'join_token', 'join_token: this is no join token', '"ict1.a.b"'],
  ['vm-agent', 'address', 'address: must be an IP', '"10.0.0.1:80"'],
  ['vm-agent', 'network', 'network: must be', '"Net 1"'],
  ['vm-agent', 'call_as', 'call_as: must be namespace/name', '"web"'],
  ['vm-agent', 'address_range', 'address_range: must be an IPv4 range', '"127.64.0.0"'],
  ['vm-agent', 'listeners', 'listeners: each key', '{ ledger = { port = 80 } }'],
  ['vm-agent', 'dns_port', 'dns_port: must be a whole', '70000'],
  ['vm-agent', 'workloads', 'workloads: each needs at least one port', '{ a = { namespace = "shop", service = "payments", ports = {} } }'],
];

/** Nonsense that is judged only beside a name that is one. */
const ALONE: typeof NONSENSE = [
  ['cluster', 'etcd_members', 'etcd_members: each needs an address', '{ a = { address = "10.0.0.1", client_port = 2380 } }'],
  ['vm-agent', 'workloads', 'workloads: a weight is a whole number', '{ a = { namespace = "shop", service = "payments", ports = { http = 80 }, weight = 0 } }'],
  ['federation', 'key_pkcs11', 'key_pkcs11: needs the library', '{ module = "a.so", token = "a", pin = "1" }'],
  ['federation', 'operators', 'operators: each needs at least one right', '[{ cluster = "east", may = ["everything"] }]'],
  ['cluster', 'forwarders', 'forwarders: each cluster needs', '{ west = [] }'],
];
/** What is judged only where all else makes sense. */
const SUBTLE: typeof NONSENSE = [
  ['vm-agent', 'ssh_authorized_keys', 'ssh_authorized_keys: each must be one line', '["my key"]'],
  ['vm-agent', 'packages', 'packages: each sha256', '[{ url = "https://packages.example/a.deb", sha256 = "0" }]'],
  ['cluster', 'forwarders', 'forwarders: a cluster does not forward to itself', '{ east = ["viewer"] }'],
  ['cluster', 'etcd_tls', 'etcd_tls: needed with etcd_members', '{ ca = "a", client_cert = "b", client_key = "c", members = {} }'],
  ['vm-agent', 'resolver', 'resolver: needs dns_port', 'true'],
  ['federation', 'key_pkcs11', 'key_pkcs11: keys in a token', '{ module = "/a.so", token = "a", pin = "1" }\n  key_passphrase = "sixteen characters"'],
];
const SENSIBLE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  federation: { trust_domain: '"acme.example"', address: '"10.0.0.1"' },
  cluster: { name: '"east"', host: '{ name = "east-1", address = "10.1.0.2" }', federation: '{ trust_domain = "acme.example", address = "10.0.0.1:7000", admission = { admit = "a", remove = "r" } }' },
  'vm-agent': { name: '"vm-1"', server: '"203.0.113.10:15443"', address: '"10.2.0.5"', dns_port: 'null', resolver: 'false' },
};
const block = (label: string, module: string, values: Readonly<Record<string, string>>): string =>
  `module "${label}" {\n  source = "${MODULES}//${module}"\n${Object.entries({ ...SENSIBLE[module], ...values }).map(([name, value]) => `  ${name} = ${value}\n`).join('')}}\n`;
const blocks = (list: typeof NONSENSE): string => list.map(([module, name, , value], i) => block(`${module}-${i}`, module, { [name]: value })).join('');
