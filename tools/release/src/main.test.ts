import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PROGRAMS } from './bundle.ts';
import { makeDeb } from './deb.ts';
import { ARCHITECTURES } from './executable.ts';
import { maintainerScripts, packagePlans } from './packages.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const noDpkg = spawnSync('dpkg-deb', ['--version']).error === undefined ? false : 'dpkg-deb is not installed';
let out = '';

const run = (command: string, args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } => {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 120_000 });
  return { status, stdout, stderr };
};

before(() => {
  out = mkdtempSync(join(tmpdir(), 'isthmus-release-test-'));
  const made = run(process.execPath, [MAIN, '--out', out, ...(noDpkg === false ? [] : ['--only', 'executable', '--only', 'tar'])]);
  assert.equal(made.status, 0, made.stderr);
});

after(() => rmSync(out, { recursive: true, force: true }));

test('every file that was made has its checksum, and no other is named', () => {
  const lines = readFileSync(join(out, 'SHA256SUMS'), 'utf8').trim().split('\n');
  for (const line of lines) {
    const [sum, path = ''] = line.split('  ');
    assert.equal(createHash('sha256').update(readFileSync(join(out, path))).digest('hex'), sum, path);
  }
  const packages = readdirSync(out).filter((name) => /\.(deb|tar\.gz)$/.test(name));
  for (const name of packages) assert.ok(lines.some((line) => line.endsWith(`  ${name}`)), name);
});

test('the executable is the program it is called by, and the command line otherwise', () => {
  const directory = join(out, process.arch);
  for (const program of PROGRAMS) {
    const link = join(directory, `isthmus-${program}`);
    symlinkSync('isthmus', link);
    const { status, stdout } = run(link, ['--help']);
    assert.equal(status, 0);
    assert.ok(stdout.startsWith(`Usage: ${program} --config FILE`), stdout.slice(0, 80));
  }
  assert.match(run(join(directory, 'isthmus'), ['--help']).stdout, /^Usage: isthmus /);
  assert.match(run(join(directory, 'isthmus-agent'), ['status', '--help']).stdout, /^Usage: isthmus agent status/);
});

test('the executable lays itself out for Terraform, and called by that name is the provider', () => {
  const mirror = join(out, 'mirror');
  const made = run(join(out, process.arch, 'isthmus'), ['terraform', 'mirror', mirror, '--link', '--output', 'json']);
  assert.equal(made.status, 0, made.stderr);
  const { executable } = JSON.parse(made.stdout) as { readonly executable: string };
  assert.match(executable, /isthmus\.example\/isthmus\/isthmus\/0\.1\.0\/linux_(?:amd64|arm64)\/terraform-provider-isthmus_v0\.1\.0$/);
  const { status, stderr } = run(executable, []);
  assert.equal(status, 1);
  assert.match(stderr, /this is a Terraform provider; Terraform starts it/);
});

test('a program of the executable says of a wrong configuration what one of the sources says', () => {
  const file = join(out, 'gateway.yaml');
  writeFileSync(file, 'stateDirr: /x\n');
  const { status, stderr } = run(join(out, process.arch, 'isthmus-gateway'), ['--config', file]);
  unlinkSync(file);
  assert.equal(status, 65);
  assert.match(stderr, /gateway\.yaml:1: stateDirr/);
});

test('the demo runs from the executable alone, on the Linux engine and without the sources, and ends with it however it ends', { timeout: 150_000 }, async () => {
  const state = join(out, 'demo');
  const demo = spawn(join(out, process.arch, 'isthmus'), ['up', '--state', state, '--ports', '11000-11199'], { cwd: out, env: { PATH: '/usr/bin:/bin', HOME: out }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const ended = new Promise<void>((resolve) => demo.once('exit', () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      for (const stream of [demo.stdout, demo.stderr]) {
        stream.on('data', (text: Buffer) => {
          said += String(text);
          if (said.includes('first answer across clusters')) resolve();
        });
      }
      void ended.then(() => reject(new Error(`it ended:\n${said}`)));
    });
    assert.ok(processesOf(state).length > 10);
    const engines = readdirSync(join(state, 'logs')).flatMap((name) => [...readFileSync(join(state, 'logs', name), 'utf8').matchAll(/"engine":"(\w+)"/g)].map(([, engine]) => engine));
    assert.deepEqual([...new Set(engines)], ['linux'], 'its threads run');
  } finally {
    demo.kill('SIGKILL');
    await ended;
  }
  while (processesOf(state).length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
});

/** Command lines of processes that name this directory. */
function processesOf(directory: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const command = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
      return command.includes(directory) ? [command] : [];
    } catch {
      return [];
    }
  });
}

test('an upgrade hands over where connections pass, and restarts where none do', () => {
  for (const [unit, verb] of [['isthmus-agent', 'try-reload-or-restart'], ['isthmus-gateway', 'try-reload-or-restart'], ['isthmus-control-plane', 'try-restart'], ['isthmus-trust-root', 'try-restart']] as const) {
    assert.ok(maintainerScripts(unit).get('postinst')?.includes(`systemctl ${verb} ${unit}.service`), unit);
    const text = readFileSync(new URL(`../../../infra/systemd/${unit}.service`, import.meta.url), 'utf8');
    assert.equal(/^ExecReload=.*kill -USR2 \$\$MAINPID'$/m.test(text), verb !== 'try-restart', unit);
    assert.match(text, /^Type=notify\nNotifyAccess=all$/m, 'the program says when it serves');
  }
});

test('capture’s unit comes and goes with the agent: rules are replaced on an upgrade, and none is left behind', () => {
  const scripts = maintainerScripts('isthmus-agent');
  assert.match(scripts.get('postinst') ?? '', /if \[ -n "\$2" \]; then systemctl try-reload-or-restart isthmus-agent-capture\.service/);
  assert.match(scripts.get('prerm') ?? '', /systemctl disable --now isthmus-agent-capture\.service isthmus-agent\.service/);
  assert.match(scripts.get('prerm') ?? '', /nft delete table inet isthmus/);
  assert.doesNotMatch([...maintainerScripts('isthmus-gateway').values()].join(), /capture|nft/);
  const unit = readFileSync(new URL('../../../infra/systemd/isthmus-agent-capture.service', import.meta.url), 'utf8');
  assert.match(unit, /^PartOf=isthmus-agent\.service$/m);
  assert.match(unit, /^After=isthmus-agent\.service$/m, 'started after it, stopped before it');
  assert.match(unit, /^CapabilityBoundingSet=CAP_NET_ADMIN$/m);
  assert.doesNotMatch(readFileSync(new URL('../../../infra/systemd/isthmus-agent.service', import.meta.url), 'utf8'), /CAP_NET_ADMIN/, 'the agent itself has no such right');
});

test('the packages hold what belongs to a host, owned by root, and nothing writable by others', { skip: noDpkg }, () => {
  const contents = (name: string): string => {
    const file = readdirSync(out).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
    return run('dpkg-deb', ['-c', join(out, file ?? name)]).stdout;
  };
  assert.match(contents('isthmus'), /-rwxr-xr-x root\/root +\d+ .* \.\/usr\/lib\/isthmus\/isthmus\n/);
  assert.match(contents('isthmus'), /\.\/usr\/bin\/isthmus -> \.\.\/lib\/isthmus\/isthmus/);
  for (const program of PROGRAMS) {
    const listing = contents(`isthmus-${program}`);
    assert.match(listing, new RegExp(`\\./usr/lib/systemd/system/isthmus-${program}\\.service`));
    assert.match(listing, new RegExp(`\\./usr/bin/isthmus-${program} -> `));
    assert.equal(listing.includes('./usr/lib/systemd/system/isthmus-agent-capture.service'), program === 'agent', program);
    for (const line of listing.trim().split('\n')) assert.ok(line.startsWith('l') || /^[d-]rwxr-xr-x|^-rw-r--r--/.test(line), line);
  }
});

test('the same tree makes the same package, byte by byte', { skip: noDpkg }, async () => {
  const plan = packagePlans('0.1.0').find(({ name }) => name === 'isthmus-gateway');
  assert.ok(plan);
  const sums: string[] = [];
  for (const at of ['first', 'second']) {
    const directory = join(out, at);
    mkdirSync(directory);
    const executable = { architecture: ARCHITECTURES[0], path: MAIN, nativePath: MAIN };
    const path = await makeDeb(plan, { version: '0.1.0', executable, noticesPath: MAIN, directory, epochSeconds: 1_700_000_000 });
    sums.push(createHash('sha256').update(readFileSync(path)).digest('hex'));
  }
  assert.equal(sums[0], sums[1]);
});

test('the notices name every kind of code that is shipped', () => {
  const notices = readFileSync(join(out, 'third-party-notices'), 'utf8');
  for (const name of ['@grpc/grpc-js', 'etcd3', 'node-forge', 'undici', 'winston', 'koffi', 'typebox', 'commander']) assert.match(notices, new RegExp(`^${name} \\d.* · `, 'm'), name);
});

test('a wrong flag is refused before anything is written', () => {
  const { status, stderr } = run(process.execPath, [MAIN, '--out', join(out, 'none'), '--arch', 'vax']);
  assert.equal(status, 64);
  assert.match(stderr, /--arch takes x64 and arm64/);
});
