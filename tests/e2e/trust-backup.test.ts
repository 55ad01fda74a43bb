// The trust root lost and restored from its backup, with real processes: clusters go on with it, and nothing goes back unseen.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isthmus, names, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-backup-'));
const passphrase = join(directory, 'passphrase');
const archive = join(directory, 'backup');
let mesh: TestFederation;
let stateDir: string;

before(async () => {
  writeFileSync(passphrase, 'a passphrase of some length\n', { mode: 0o600 });
  mesh = await startFederation({ topology: smallTopology(['east-1', 'west-1']), start: false });
  stateDir = mesh.paths.state(names.trustRoot);
  const [east] = mesh.topology.clusters;
  assert.ok(east);
  await mesh.federation.startTrustRoot();
  await mesh.federation.startControlPlane(east);
}, { timeout: 180_000 });
after(async () => {
  await mesh.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Deriving a key from a passphrase takes its time on a busy machine. */
const trust = (...args: string[]) => isthmus(['trust', ...args, '--socket', mesh.paths.socket(names.trustRoot)], { limitMs: 120_000 });
const backup = (file: string) => trust('backup', file, '--state-dir', stateDir, '--passphrase-file', passphrase);
const restore = (file: string, to: string, ...more: string[]) => trust('restore', file, '--state-dir', to, '--passphrase-file', passphrase, ...more);
const members = async (): Promise<string[]> => (await mesh.federation.trustRootAdmin().federation()).members.map((m) => m.cluster);
const isHeard = async (): Promise<true | undefined> => {
  const identity = (await mesh.federation.admin('east').status())['identity'] as { trustRootReachable: boolean };
  return identity.trustRootReachable ? true : undefined;
};

test('a running trust root is backed up, lost, restored and goes on: same root, same members, its cluster renews', { timeout: 600_000 }, async () => {
  const made = await backup(archive);
  assert.equal(made.code, 0, made.stderr);
  assert.equal(statSync(archive).mode & 0o777, 0o600);
  assert.doesNotMatch(readFileSync(archive, 'latin1'), /PRIVATE KEY|demo\.isthmus/);
  assert.match((await backup(archive)).stderr, /is there already/);
  const checkpoint = (await trust('checkpoint')).stdout.trim();

  await mesh.supervisor.kill(names.trustRoot);
  renameSync(stateDir, `${stateDir}.lost`);
  const older = await restore(archive, stateDir, '--checkpoint', checkpoint);
  assert.match(older.stderr, /does not have the record/, 'a checkpoint was signed since: this one is older');
  const restored = await restore(archive, stateDir);
  assert.equal(restored.code, 0, restored.stderr);
  assert.match((await restore(archive, stateDir)).stderr, /nothing is overwritten/);
  await mesh.supervisor.restart(names.trustRoot);
  assert.deepEqual(await members(), ['east']);
  await waitFor('east to hear the restored trust root', 60_000, isHeard, 100);
  assert.match((await trust('log', '--kind', 'restored')).stdout, /restored/);
});

test('an older backup goes in only when told to, and clusters take what the restored root says', { timeout: 600_000 }, async () => {
  const { stdout } = await trust('checkpoint');
  const sequenceOf = async (): Promise<bigint> => (await mesh.federation.trustRootAdmin().federation()).bundles.find((b) => b.trustDomain.startsWith('east.'))?.sequence ?? 0n;
  const before = await sequenceOf();
  await mesh.supervisor.kill(names.trustRoot);
  renameSync(stateDir, `${stateDir}.lost-2`);
  const told = await restore(archive, stateDir, '--checkpoint', stdout.trim(), '--accept-older');
  assert.equal(told.code, 0, told.stderr);
  await mesh.supervisor.restart(names.trustRoot);
  assert.ok((await sequenceOf()) > before, 'its bundles go on from beyond all that was seen');
  await waitFor('east to hear it', 60_000, isHeard, 100);
});

test('a backup that is cut short, changed, under another passphrase or none at all restores nothing', { timeout: 600_000 }, async () => {
  const bytes = readFileSync(archive);
  const to = join(directory, 'elsewhere');
  const bad = join(directory, 'bad');
  for (const [content, why] of [
    [bytes.subarray(0, bytes.length - 100), /does not open/],
    [Buffer.concat([bytes.subarray(0, 400), Buffer.from([(bytes[400] ?? 0) ^ 1]), bytes.subarray(401)]), /does not open/],
    [Buffer.from('no backup'), /nothing that was sealed/],
  ] as const) {
    writeFileSync(bad, content, { mode: 0o600 });
    assert.match((await restore(bad, to)).stderr, why);
  }
  writeFileSync(passphrase, 'another passphrase of some length\n', { mode: 0o600 });
  assert.match((await restore(archive, to)).stderr, /passphrase is another one/);
  assert.throws(() => statSync(to));
});
