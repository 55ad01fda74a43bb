// A VM as its operator meets it: the packages on a bare Debian, one command to join, an upgrade that is killed, and a clean end.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { Resolver } from 'node:dns/promises';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { AS_AGENT, type BareRoot, isthmus, makeBareRoot, makePackages, reservePorts, run, smallTopology, startFederation, type TestFederation, waitFor, whyNoBareRoot } from '@isthmus/harness';

const skip = whyNoBareRoot() ?? false;

let vm: BareRoot;
let mesh: TestFederation;
let packages: string;
let dnsPort = 0;
let agent: ChildProcess | undefined;
let agentSaid = '';

before(async () => {
  if (skip !== false) return;
  packages = mkdtempSync(join(tmpdir(), 'isthmus-packages-'));
  const [root, federation] = await Promise.all([makeBareRoot(), startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-2']) }), makePackages(packages)]);
  vm = root;
  mesh = federation;
  dnsPort = (await reservePorts()).from;
}, { timeout: 400_000 });

after(async () => {
  agent?.kill('SIGKILL');
  await mesh?.close();
  vm?.remove();
  if (packages !== undefined) rmSync(packages, { recursive: true, force: true });
});

const inVm = (path: string): string => join(vm.directory, path);
const gateway = (): string => `127.0.0.1:${mesh.federation.port('east-gateway')}`;

/** Puts packages into the VM and answers their names there. */
function bring(directory: string): string[] {
  mkdirSync(inVm('/packages'), { recursive: true });
  const names = readdirSync(directory).filter((name) => /^isthmus(-agent)?_.*\.deb$/.test(name)).sort();
  for (const name of names) copyFileSync(join(directory, name), inVm(join('/packages', name)));
  return names.map((name) => `/packages/${name}`);
}

async function startAgent(): Promise<void> {
  // What systemd does by StateDirectory=.
  await vm.run(['install', '-d', '-o', 'isthmus', '-g', 'isthmus', '-m', '0700', '/var/lib/isthmus/agent']);
  // Its first process outlives it, as systemd does: a successor must not end with its predecessor.
  agent = vm.start(['sh', '-c', '"$@"; sleep 1000', 'sh', ...AS_AGENT, 'isthmus-agent', '--config', '/etc/isthmus/agent.yaml']);
  agentSaid = '';
  for (const stream of [agent.stdout, agent.stderr]) stream?.on('data', (text: Buffer) => (agentSaid += String(text)));
  await waitFor('the agent of the VM to be ready', 60_000, () => {
    assert.equal(agent?.exitCode, null, agentSaid.slice(-2_000));
    return agentSaid.includes('"msg":"ready"') ? true : undefined;
  });
}

/** Asked once, by name; anything but an answer is an error. */
async function askOnce(): Promise<void> {
  const resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${dnsPort}`]);
  const [host = ''] = await resolver.resolve4('payments.shop.svc.clusterset.local');
  const answer = await fetch(`http://${host}/`);
  assert.equal(answer.status, 200, await answer.text());
}

async function askPayments(): Promise<string> {
  const resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${dnsPort}`]);
  const host = await waitFor('the name to be known', 30_000, () => resolver.resolve4('payments.shop.svc.clusterset.local').then(([first]) => first, () => undefined));
  return waitFor('an answer', 30_000, async () => {
    const answer = await fetch(`http://${host}/`).catch(() => undefined);
    return answer?.status === 200 ? answer.text() : undefined;
  });
}

test('the packages install on a bare Debian, with a user of their own and nothing running', { skip, timeout: 120_000 }, async () => {
  const installed = await vm.run(['dpkg', '-i', ...bring(packages)]);
  assert.equal(installed.code, 0, installed.stderr);
  assert.match(readFileSync(inVm('/etc/passwd'), 'utf8'), /^isthmus:x:\d+:\d+:.*:\/usr\/sbin\/nologin$/m);
  assert.ok(statSync(inVm('/etc/isthmus/workloads.d')).isDirectory());
  assert.match((await vm.run(['isthmus', '--help'])).stdout, /^Usage: isthmus /);
});

test('a wrong token, server or port changes nothing and says what is wrong', { skip, timeout: 120_000 }, async () => {
  for (const [args, message] of [
    [['--server', gateway(), '--token', 'nonsense'], /no join token/],
    [['--server', gateway(), '--token-file', '/nowhere'], /\/nowhere cannot be read/],
    [['--server', gateway()], /no token/],
  ] as const) {
    const finished = await vm.run(['isthmus-agent', 'join', ...args]);
    assert.equal(finished.code, 65, finished.stderr);
    assert.match(finished.stderr, message);
    assert.ok(!existsSync(inVm('/etc/isthmus/agent.yaml')));
  }
});

test('one command lets it in, and its calls are answered by name over mutual TLS', { skip, timeout: 180_000 }, async () => {
  const token = await isthmus(['token', 'create', 'vm-2', '--service', 'shop/web', '--output', 'json', '--state', mesh.paths.root]);
  assert.equal(token.code, 0, token.stderr);
  const { token: text } = JSON.parse(token.stdout) as { readonly token: string };
  const join = ['isthmus-agent', 'join', '--server', gateway(), '--token-file', '-', '--call-as', 'shop/web', '--dns-port', String(dnsPort), '--no-start'];
  assert.equal((await vm.run([...join, '--dns-port', 'x'], { input: text })).code, 65);
  const joined = await vm.run(join, { input: text });
  assert.equal(joined.code, 0, joined.stderr);
  assert.match(joined.stdout, /^vm-2 is set up for cluster east/);
  assert.equal(statSync(inVm('/etc/isthmus/agent.token')).mode & 0o777, 0o600);
  assert.ok(!readFileSync(inVm('/etc/isthmus/agent.yaml'), 'utf8').includes(text), 'the token is in no file that others read');
  const again = await vm.run(join, { input: text });
  assert.equal(again.code, 73, again.stderr);
  assert.match(again.stderr, /CLI_ALREADY_JOINED/);

  await startAgent();
  assert.match(await askPayments(), /"caller":"[^"]*spiffe:\/\/east\.[a-z.]+\/ns\/shop\/svc\/web/);
  const status = await vm.run(['isthmus-agent', 'status']);
  assert.match(status.stdout, /spiffe:\/\/east\.[a-z.]+\/agent\/vm-2/, status.stderr);
});

test('an upgrade that is killed in the middle leaves a program that starts, and is finished by the next; the running agent hands over and no request fails', { skip, timeout: 240_000 }, async () => {
  const next = mkdtempSync(join(packages, 'next-'));
  for (const name of ['isthmus', 'isthmus-agent']) {
    const tree = join(next, name);
    const file = readdirSync(packages).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb')) ?? name;
    await run('dpkg-deb', ['-R', join(packages, file), tree]);
    await run('sed', ['-i', 's/0\\.1\\.0/0.1.1/', join(tree, 'DEBIAN/control')]);
    const built = await run('dpkg-deb', ['--root-owner-group', '-Znone', '-b', tree, join(next, file.replace('0.1.0', '0.1.1'))], { limitMs: 60_000 });
    assert.equal(built.code, 0, built.stderr);
    rmSync(tree, { recursive: true });
  }
  const paths = bring(next).filter((path) => path.includes('0.1.1'));
  const upgrade = vm.start(['dpkg', '-i', ...paths]);
  await new Promise<void>((resolve) => upgrade.stdout?.on('data', (text: Buffer) => String(text).includes('Unpacking isthmus') && resolve()));
  upgrade.kill('SIGKILL');
  await new Promise((resolve) => upgrade.once('close', resolve));
  assert.match((await vm.run(['isthmus-agent', '--help'])).stdout, /^Usage: agent /, 'a program that starts');
  const finished = await vm.run(['sh', '-c', `dpkg --configure -a; dpkg -i ${paths.join(' ')}`]);
  assert.equal(finished.code, 0, finished.stderr);
  assert.match((await vm.run(['dpkg-query', '-W', 'isthmus', 'isthmus-agent'])).stdout, /isthmus\t0\.1\.1\nisthmus-agent\t0\.1\.1/);
  // What the package's own script asks of systemd: the running one, of the old file, hands over to the new one.
  const failures: string[] = [];
  let asked = 0;
  let isAsking = true;
  const asking = (async () => {
    for (; isAsking; asked += 1) await askOnce().catch((error: unknown) => failures.push(String(error)));
  })();
  if (agent !== undefined) vm.signal(agent, 'SIGUSR2');
  await waitFor('the predecessor to end', 120_000, () => (/the successor serves; open connections are let end/.test(agentSaid) && agentSaid.match(/"msg":"ready"/g)?.length === 2 ? true : undefined)).catch((error: unknown) => assert.fail(`${String(error)}\n${agentSaid}`));
  const before = asked;
  await waitFor('answers through the successor', 60_000, () => (asked > before + 3 ? true : undefined));
  isAsking = false;
  await asking;
  assert.deepEqual(failures, [], `of ${asked} requests`);
  assert.match(await askPayments(), /"caller":"[^"]*spiffe:\/\/east\.[a-z.]+\/ns\/shop\/svc\/web/, 'the configuration and the identity of before still serve');
});

test('leaving and purging take away all of it', { skip, timeout: 120_000 }, async () => {
  agent?.kill('SIGKILL');
  const left = await vm.run(['isthmus-agent', 'leave', '--purge']);
  assert.equal(left.code, 0, left.stderr);
  assert.ok(!existsSync(inVm('/var/lib/isthmus/agent')));
  assert.equal((await vm.run(['isthmus-agent', 'leave'])).code, 66);
  const purged = await vm.run(['dpkg', '-P', 'isthmus-agent', 'isthmus']);
  assert.equal(purged.code, 0, purged.stderr);
  for (const path of ['/etc/isthmus', '/var/lib/isthmus', '/usr/lib/isthmus', '/usr/bin/isthmus', '/usr/bin/isthmus-agent']) assert.ok(!existsSync(inVm(path)), path);
});

test('an install script refuses packages that are not the released ones, goes on after it was killed, and changes nothing twice', { skip, timeout: 300_000 }, async () => {
  const token = await isthmus(['token', 'create', 'vm-3', '--service', 'shop/web', '--output', 'json', '--state', mesh.paths.root]);
  const { token: text } = JSON.parse(token.stdout) as { readonly token: string };
  const made = await isthmus(['agent', 'install-script', '--server', gateway(), '--token-file', '-', '--packages', packages, '--call-as', 'shop/web', '--dns-port', String(dnsPort), '--no-start'], { input: text });
  assert.equal(made.code, 0, made.stderr);
  writeFileSync(inVm('/install.sh'), made.stdout, { mode: 0o700 });
  const files = bring(packages);
  const executable = files.find((path) => path.startsWith('/packages/isthmus_') && path.includes('0.1.0')) ?? '';
  const bytes = readFileSync(inVm(executable));
  const changed = bytes.length >> 1;
  writeFileSync(inVm(executable), bytes.with(changed, (bytes[changed] ?? 0) ^ 1));
  const install = (...args: string[]) => vm.run(['sh', '/install.sh', ...args]);
  const refused = await install('/packages');
  assert.equal(refused.code, 1, refused.stdout);
  assert.match(refused.stderr, /^isthmus install: isthmus_0\.1\.0_amd64\.deb is not the one that was released: its SHA-256 is [0-9a-f]{64} and not [0-9a-f]{64}; nothing was installed\n$/);
  assert.match((await install()).stderr, /name the directory/);
  assert.match((await install('/nowhere')).stderr, /\/nowhere\/isthmus_0\.1\.0_amd64\.deb cannot be read; nothing was installed/);
  assert.ok(!existsSync(inVm('/usr/bin/isthmus')) && !existsSync(inVm('/etc/isthmus')) && !existsSync(inVm('/var/cache/isthmus-install')));

  writeFileSync(inVm(executable), bytes);
  const killed = vm.start(['sh', '/install.sh', '/packages']);
  await new Promise<void>((resolve) => killed.stdout?.on('data', (said: Buffer) => String(said).includes('Unpacking isthmus') && resolve()));
  killed.kill('SIGKILL');
  await new Promise((resolve) => killed.once('close', resolve));
  assert.ok(!existsSync(inVm('/etc/isthmus/agent.yaml')), 'it was killed before it joined');
  const installed = await install('/packages');
  assert.equal(installed.code, 0, installed.stderr);
  assert.match(installed.stdout, /vm-3 is set up for cluster east/);
  assert.ok(!existsSync(inVm('/var/cache/isthmus-install')), 'what it fetched is gone');
  const written = ['/etc/isthmus/agent.yaml', '/etc/isthmus/agent.token', '/usr/lib/isthmus/isthmus'];
  const state = (): string => written.map((path) => `${statSync(inVm(path)).mtimeMs} ${statSync(inVm(path)).ino}`).join();
  const before = state();
  const again = await install('/packages');
  assert.equal(again.code, 0, again.stderr);
  assert.equal(again.stdout, 'this host has joined already\n');
  assert.equal(state(), before);
  await startAgent();
  assert.match(await askPayments(), /"caller":"[^"]*spiffe:\/\/east\.[a-z.]+\/ns\/shop\/svc\/web/);
});
