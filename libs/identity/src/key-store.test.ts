import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { fileKeyStore, type KeyStore, memoryKeyStore, readPassphrase } from './key-store.ts';
import { FEDERATION, testDir } from './testing.ts';
import { openTrustRoot } from './trust-root/trust-root.ts';

const QUICK = { logN: 10, r: 8, p: 1 };
const passphrase = Buffer.from('open sesame, twice');
let dir: Awaited<ReturnType<typeof testDir>>;
let made = 0;
before(async () => {
  dir = await testDir('keys');
});
after(() => dir.remove());

const newDir = async (): Promise<string> => {
  const path = join(dir.path, `d${made++}`);
  await mkdir(path, { mode: 0o700 });
  return path;
};
const sameKey = (a: Awaited<ReturnType<KeyStore['read']>>, b: Awaited<ReturnType<KeyStore['read']>>): boolean => a !== undefined && b !== undefined && a.publicKey.equals(b.publicKey);

for (const [name, open] of [
  ['memory', async () => memoryKeyStore()],
  ['files', async () => fileKeyStore(await newDir())],
  ['files under a passphrase', async () => fileKeyStore(await newDir(), { passphrase, cost: QUICK })],
] as const) {
  test(`${name}: a key is made once, found again, of the kind asked for, and gone when it is destroyed`, async () => {
    const keys = await open();
    assert.equal(await keys.read('root.key'), undefined);
    const key = await keys.make('root.key', 'ed25519');
    assert.equal(key.publicKey.asymmetricKeyType, 'ed25519');
    assert.ok(sameKey(await keys.make('root.key', 'ed25519'), key));
    assert.ok(sameKey(await keys.read('root.key'), key));
    await keys.destroy('root.key');
    await keys.destroy('root.key');
    assert.equal(await keys.read('root.key'), undefined);
  });
}

test('under a passphrase the file is 0600 and no PEM; without it, with another, or cut short it stays closed', async () => {
  const path = await newDir();
  const key = await fileKeyStore(path, { passphrase, cost: QUICK }).make('root.key', 'ec-p256');
  const file = join(path, 'root.key');
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.doesNotMatch(await readFile(file, 'latin1'), /PRIVATE KEY/);
  await assert.rejects(fileKeyStore(path).read('root.key'), { code: 'IDENTITY_KEY_LOCKED' });
  await assert.rejects(fileKeyStore(path, { passphrase: Buffer.from('open barley') }).read('root.key'), { code: 'IDENTITY_KEY_LOCKED' });
  assert.ok(sameKey(await fileKeyStore(path, { passphrase }).read('root.key'), key));
  await truncate(file, 100);
  await assert.rejects(fileKeyStore(path, { passphrase }).read('root.key'), { code: 'IDENTITY_KEY_LOCKED' });
  assert.equal((await stat(file)).size, 100, 'and the file is left for repair');
});

test('a plain key is put under the passphrase once one is configured, and is the same key', async () => {
  const path = await newDir();
  const key = await fileKeyStore(path).make('root.key', 'ec-p256');
  const sealed = fileKeyStore(path, { passphrase, cost: QUICK });
  assert.ok(sameKey(await sealed.read('root.key'), key));
  assert.doesNotMatch(await readFile(join(path, 'root.key'), 'latin1'), /PRIVATE KEY/);
  assert.ok(sameKey(await sealed.read('root.key'), key));
});

test('row 45: a key or passphrase others can read is refused by name, and so is a file that holds no key', async () => {
  const path = await newDir();
  await fileKeyStore(path).make('root.key', 'ec-p256');
  await chmod(join(path, 'root.key'), 0o644);
  await assert.rejects(fileKeyStore(path).read('root.key'), { code: 'STATE_EXPOSED' });
  await writeFile(join(path, 'other.key'), 'no key', { mode: 0o600 });
  await assert.rejects(fileKeyStore(path).read('other.key'), { code: 'IDENTITY_STATE_CORRUPT' });
  const secret = join(path, 'passphrase');
  await writeFile(secret, 'open sesame, twice\n', { mode: 0o600 });
  assert.deepEqual(await readPassphrase(secret), passphrase);
  await chmod(secret, 0o640);
  await assert.rejects(readPassphrase(secret), { code: 'STATE_EXPOSED' });
});

test('a trust root runs on each: its key is where the store says and nowhere else', async () => {
  const stateDir = await newDir();
  const options = { stateDir, federation: FEDERATION, clock: systemClock, random: systemRandom, log: silentLog() };
  const sealed = fileKeyStore(stateDir, { passphrase, cost: QUICK });
  const first = await openTrustRoot({ ...options, keys: sealed });
  await first.close();
  await assert.rejects(openTrustRoot(options), { code: 'IDENTITY_KEY_LOCKED' });
  const again = await openTrustRoot({ ...options, keys: sealed });
  assert.equal(again.rootSha256, first.rootSha256);
  await again.close();
  const elsewhere = await newDir();
  const keys = memoryKeyStore();
  const inMemory = await openTrustRoot({ ...options, stateDir: elsewhere, keys });
  await inMemory.close();
  assert.notEqual(await keys.read('root.key'), undefined);
  await assert.rejects(stat(join(elsewhere, 'root.key')));
  await assert.rejects(openTrustRoot({ ...options, stateDir: elsewhere, keys: memoryKeyStore() }), { code: 'IDENTITY_STATE_MISMATCH' }, 'a lost key is never made anew');
});
