import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { makePrivateDir, readPrivateFile, writePrivateFile } from './private-file.ts';
import { openStateFile } from './state-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-state-'));
after(() => rmSync(directory, { recursive: true }));
let serial = 0;
const aPath = (): string => join(directory, `file-${++serial}`);
const withCode = (code: string) => (error: unknown) => error instanceof IsthmusError && error.code === code;

test('a private file is readable by its owner only, whatever the umask and whatever was there', async () => {
  const path = aPath();
  writeFileSync(path, 'old', { mode: 0o644 });
  const before = process.umask(0);
  await writePrivateFile(path, 'key').finally(() => process.umask(before));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal((await readPrivateFile(path)).toString(), 'key');
});

for (const mode of [0o640, 0o604, 0o660, 0o644]) {
  test(`a private file of mode ${mode.toString(8)} is refused, and the hint says what to do`, async () => {
    const path = aPath();
    writeFileSync(path, 'key');
    chmodSync(path, mode);
    await assert.rejects(readPrivateFile(path), (error) => withCode('STATE_EXPOSED')(error) && /chmod 600/.test((error as IsthmusError).hint ?? ''));
  });
}

test('a file of another owner is refused to anyone but root', { skip: process.getuid?.() === 0 ? false : 'only root can make a file of another owner' }, () => {
  const path = aPath();
  writeFileSync(path, 'key', { mode: 0o600 });
  execFileSync('chown', ['65534', path]);
  // Read as a third user through a descriptor would need CAP_SETUID in this process; a child is simpler.
  const program = `
    process.setuid(65533);
    const { readPrivateFile } = await import(${JSON.stringify(new URL('./private-file.ts', import.meta.url).href)});
    const error = await readPrivateFile(${JSON.stringify(path)}).then(() => ({ code: 'read' }), (e) => e);
    console.log(error.code);`;
  execFileSync('chmod', ['711', directory]);
  const code = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }).trim();
  assert.notEqual(code, 'read');
});

test('a file over the limit and one that is not there have their own codes', async () => {
  const path = aPath();
  await writePrivateFile(path, 'x'.repeat(101));
  await assert.rejects(readPrivateFile(path, { maxBytes: 100 }), withCode('STATE_TOO_LARGE'));
  await assert.rejects(readPrivateFile(aPath()), withCode('STATE_UNWRITABLE'));
});

test('a directory for state is made for its owner only, and an open one is closed', async () => {
  const made = join(directory, 'made/inside');
  await makePrivateDir(made);
  assert.equal(statSync(made).mode & 0o777, 0o700);
  const open = join(directory, 'open');
  mkdirSync(open);
  chmodSync(open, 0o755);
  await makePrivateDir(open);
  assert.equal(statSync(open).mode & 0o777, 0o700);
});

test('a link in the place of the temporary file is not followed', async () => {
  const path = aPath();
  const victim = aPath();
  writeFileSync(victim, 'precious');
  symlinkSync(victim, `${path}.new`);
  await assert.rejects(writePrivateFile(path, 'key'), withCode('STATE_UNWRITABLE'));
  assert.equal(readFileSync(victim, 'utf8'), 'precious');
});

test('state reads back as it was written, across openings; no file is no state', async () => {
  const path = aPath();
  assert.equal(await openStateFile(path).read(), undefined);
  const text = 'line\nzweite Zeile – ümlaut\n';
  await openStateFile(path).write(text);
  assert.equal(await openStateFile(path).read(), text);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('state cut short at any byte, or changed by one, is refused and stays as it is', async () => {
  const path = aPath();
  await openStateFile(path).write(JSON.stringify({ sequence: 7, name: 'east' }));
  const whole = readFileSync(path);
  for (let length = 0; length < whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    await assert.rejects(openStateFile(path).read(), withCode('STATE_CORRUPT'), `cut at ${length}`);
    assert.deepEqual(readFileSync(path), whole.subarray(0, length));
  }
  for (let i = 0; i < whole.length; i++) {
    const changed = Buffer.from(whole);
    changed[i] = (changed[i] ?? 0) ^ 1;
    writeFileSync(path, changed);
    await assert.rejects(openStateFile(path).read(), withCode('STATE_CORRUPT'), `changed at ${i}`);
  }
});

test('state others can read is refused', async () => {
  const path = aPath();
  await openStateFile(path).write('secret');
  chmodSync(path, 0o644);
  await assert.rejects(openStateFile(path).read(), withCode('STATE_EXPOSED'));
});

test('state that cannot be reached is an error, never a first start', async () => {
  const file = aPath();
  writeFileSync(file, 'no directory');
  await assert.rejects(openStateFile(join(file, 'state')).read(), withCode('STATE_UNWRITABLE'));
});

test('writes that overlap happen one after the other, and a read sees the last one', async () => {
  const state = openStateFile(aPath());
  const writes = Array.from({ length: 20 }, (_, i) => state.write(`version ${i}`));
  assert.equal(await state.read(), 'version 19');
  await Promise.all(writes);
});

test('more than the limit is not written, so that what is written can always be read back', async () => {
  const state = openStateFile(aPath(), { maxBytes: 10 });
  await state.write('0123456789');
  await assert.rejects(state.write('0123456789a'), withCode('STATE_TOO_LARGE'));
  assert.equal(await state.read(), '0123456789');
});

test('on a full disk the old state stays, the code says so, and nothing is left behind', { skip: tmpfsSkip() }, async () => {
  const mount = join(directory, 'small');
  mkdirSync(mount);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', mount]);
  try {
    const state = openStateFile(join(mount, 'state'));
    await state.write('old');
    await assert.rejects(state.write('x'.repeat(200 * 1024)), withCode('STATE_DISK_FULL'));
    assert.equal(await state.read(), 'old');
    assert.deepEqual(readdirSync(mount), ['state']);
    await state.write('new');
    assert.equal(await state.read(), 'new');
  } finally {
    execFileSync('umount', [mount]);
  }
});

function tmpfsSkip(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux to mount a small disk';
  const probe = mkdtempSync(join(tmpdir(), 'isthmus-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    return false;
  } catch {
    return 'mounting is not allowed here';
  } finally {
    if (existsSync(probe)) rmSync(probe, { recursive: true });
  }
}
