// The install script against real servers: it fetches, checks and installs, or says in one line why not and installs nothing.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type BareRoot, makeBareRoot, run, whyNoBareRoot } from '@isthmus/harness';
import { installScript } from '../../apps/cli/src/commands/install-script.ts';

const skip = whyNoBareRoot() ?? false;
const PACKAGES = ['isthmus', 'isthmus-agent'];
const servers: Server[] = [];
let vm: BareRoot;
let release: string;
let architecture = '';
let sums: ReadonlyMap<string, string>;

before(async () => {
  if (skip !== false) return;
  vm = await makeBareRoot();
  release = mkdtempSync(join(tmpdir(), 'isthmus-install-url-'));
  architecture = (await run('dpkg', ['--print-architecture'])).stdout.trim();
  sums = new Map(await Promise.all(PACKAGES.map(makePackage)));
}, { timeout: 400_000 });

after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  vm?.remove();
  if (release !== undefined) rmSync(release, { recursive: true, force: true });
});

/** A package of the right name; the agent's says how it was told to join. */
async function makePackage(name: string): Promise<[string, string]> {
  const tree = mkdtempSync(join(release, 'tree-'));
  chmodSync(tree, 0o755);
  mkdirSync(join(tree, 'DEBIAN'));
  writeFileSync(join(tree, 'DEBIAN/control'), `Package: ${name}\nVersion: 0.1.0\nArchitecture: ${architecture}\nMaintainer: nobody <nobody@localhost>\nDescription: stands for ${name}\n`);
  if (name === 'isthmus-agent') {
    mkdirSync(join(tree, 'usr/bin'), { recursive: true });
    writeFileSync(join(tree, 'usr/bin/isthmus-agent'), '#!/bin/sh\nread -r token\necho "joined by $token: $*"\n', { mode: 0o755 });
  }
  const file = `${name}_0.1.0_${architecture}.deb`;
  const built = await run('dpkg-deb', ['--root-owner-group', '-b', tree, join(release, file)]);
  assert.equal(built.code, 0, built.stderr);
  return [file, createHash('sha256').update(readFileSync(join(release, file))).digest('hex')];
}

async function serve(listener: RequestListener, tls?: { readonly key: string; readonly cert: string }): Promise<string> {
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  servers.push(server as Server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}/a release`.replace(' ', '%20');
}
const asReleased: RequestListener = (request, response) => void response.end(readFileSync(join(release, request.url?.split('/').at(-1) ?? '')));
const ofAgent = (url: string | undefined): boolean => url?.includes('isthmus-agent_') === true;

/** Runs a script made for the URL in the VM. */
async function install(url: string): ReturnType<BareRoot['run']> {
  writeFileSync(join(vm.directory, 'install.sh'), installScript({ agent: 'vm-1', cluster: 'east', token: 'ijt1.a.b', version: '0.1.0', sums, url, join: ['--server', '127.0.0.1:1'], starts: false }), { mode: 0o700 });
  return vm.run(['sh', '/install.sh']);
}
const isUntouched = async (): Promise<boolean> => !existsSync(join(vm.directory, 'usr/bin/isthmus-agent')) && !existsSync(join(vm.directory, 'var/cache/isthmus-install')) && (await vm.run(['dpkg-query', '-W', ...PACKAGES])).stdout === '';

/** What goes wrong with the second file, after the first came whole, and what is said of it. */
const WRONG: readonly (readonly [string, RequestListener, RegExp])[] = [
  ['is not there', (_request, response) => void response.writeHead(404).end(), /could not be fetched from \S+ \(.*404.*\)/],
  ['is another one', (_request, response) => void response.end('not a package'), /is not the one that was released: its SHA-256 is [0-9a-f]{64} and not [0-9a-f]{64}/],
  ['is cut off', (_request, response) => void response.writeHead(200, { 'content-length': '1000' }).write('!<arch>', () => response.destroy()), /could not be fetched from \S+ \(.+\)|is not the one that was released/],
  ['is refused by a server that has gone', (request) => void request.socket.destroy(), /could not be fetched from \S+ \(.+\)/],
];

for (const program of ['curl', 'wget']) {
  for (const [what, wrong, says] of WRONG) {
    test(`with ${program}, a package that ${what} is one clear line, and nothing is installed`, { skip, timeout: 120_000 }, async () => {
      const url = await serve((request, response) => (ofAgent(request.url) ? wrong(request, response) : asReleased(request, response)));
      const { code, stdout, stderr } = await withOnly(program, () => install(url));
      assert.equal(code, 1, stdout);
      assert.match(stderr, new RegExp(`^isthmus install: isthmus-agent_0\\.1\\.0_${architecture}\\.deb (?:${says.source}); nothing was installed\n$`));
      assert.ok(await isUntouched());
    });
  }
}

test('a server that says nothing is given up, and nothing is installed', { skip, timeout: 180_000 }, async () => {
  let asked = 0;
  const url = await serve(() => void (asked += 1));
  // Seconds for the same decision in less time.
  const script = installScript({ agent: 'vm-1', cluster: 'east', token: 'ijt1.a.b', version: '0.1.0', sums, url, join: [], starts: false });
  const faster = script.replace(/--connect-timeout 20 --speed-limit 1 --speed-time 20/, '--connect-timeout 1 --speed-limit 1 --speed-time 1');
  assert.notEqual(faster, script, 'both limits are there');
  writeFileSync(join(vm.directory, 'install.sh'), faster, { mode: 0o700 });
  const { code, stderr } = await vm.run(['sh', '/install.sh']);
  assert.equal(code, 1);
  assert.match(stderr, /^isthmus install: isthmus_0\.1\.0_\w+\.deb could not be fetched from \S+ \(curl: \(28\) .*\); nothing was installed\n$/);
  assert.equal(asked, 3, 'and two tries more');
  assert.ok(await isUntouched());
});

test('over HTTPS a certificate that the host does not trust is refused; one of its own CA is not, and the host joins', { skip, timeout: 120_000 }, async () => {
  const [key, cert] = [join(release, 'key.pem'), join(release, 'cert.pem')];
  const made = await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1', '-subj', '/CN=release', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert]);
  assert.equal(made.code, 0, made.stderr);
  const url = await serve(asReleased, { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') });
  const refused = await install(url);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /could not be fetched from \S+ \(.*certificate.*\); nothing was installed\n$/i);
  assert.ok(await isUntouched());
  mkdirSync(join(vm.directory, 'usr/local/share/ca-certificates'), { recursive: true });
  copyFileSync(cert, join(vm.directory, 'usr/local/share/ca-certificates/release.crt'));
  await vm.run(['update-ca-certificates']);
  const installed = await install(url);
  assert.equal(installed.code, 0, installed.stderr);
  assert.match(installed.stdout, /^joined by ijt1\.a\.b: join --token-file - --server 127\.0\.0\.1:1$/m);
  assert.ok(!existsSync(join(vm.directory, 'var/cache/isthmus-install')));
});

/** Takes the other program away for as long as it lasts. */
async function withOnly<T>(program: string, action: () => Promise<T>): Promise<T> {
  const other = join(vm.directory, 'usr/bin', program === 'curl' ? 'wget' : 'curl');
  renameSync(other, `${other}.away`);
  try {
    return await action();
  } finally {
    renameSync(`${other}.away`, other);
  }
}
