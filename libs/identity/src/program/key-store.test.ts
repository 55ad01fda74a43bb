import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { verifyBytes } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import { testDir } from '../testing.ts';
import { programKeyStore } from './key-store.ts';

const KEEPER = new URL('./testdata/keeper.mjs', import.meta.url).pathname;
const bytes = Buffer.from('what is to be signed');
let dir: Awaited<ReturnType<typeof testDir>>;
let made = 0;
before(async () => {
  dir = await testDir('program');
});
after(() => dir.remove());

const newFolder = async (): Promise<string> => {
  const path = join(dir.path, `k${made++}`);
  await mkdir(path, { mode: 0o700 });
  return path;
};
const open = (folder: string, timeoutMs = 60_000) => programKeyStore({ command: [process.execPath, KEEPER, folder], label: 'acme.example', clock: systemClock, timeoutMs });
/** A program of one line of shell. */
const answering = (line: string, timeoutMs = 60_000) => programKeyStore({ command: ['/bin/sh', '-c', line], label: 'acme.example', clock: systemClock, timeoutMs });

for (const kind of ['ec-p256', 'rsa-2048'] as const) {
  test(`${kind}: made once, found again, its signatures verify, gone when it is destroyed`, async () => {
    const keys = open(await newFolder());
    assert.equal(await keys.read('root.key'), undefined);
    const key = await keys.make('root.key', kind);
    assert.equal(key.place, 'program');
    assert.ok(verifyBytes(key.publicKey, bytes, await key.sign(bytes)));
    assert.ok((await keys.make('root.key', kind)).publicKey.equals(key.publicKey), 'not made a second time');
    await keys.destroy('root.key');
    await keys.destroy('root.key');
    assert.equal(await keys.read('root.key'), undefined);
    await assert.rejects(key.sign(bytes), { code: 'IDENTITY_KEY_UNAVAILABLE' });
    await keys.close();
  });
}

test('a program that fails, hangs or signs something else is told with what it said, and used again when it works', async () => {
  const folder = await newFolder();
  const key = await open(folder).make('root.key', 'ec-p256');
  const failsWith = async (mark: string, message: RegExp, timeoutMs?: number): Promise<void> => {
    await writeFile(join(folder, mark), '');
    const again = timeoutMs === undefined ? key : undefined;
    await assert.rejects(again?.sign(bytes) ?? open(folder, timeoutMs).read('root.key'), { code: 'IDENTITY_KEY_UNAVAILABLE', message });
    await rm(join(folder, mark));
  };
  await failsWith('away', /ended with 3: the keeper of the keys is away/);
  await failsWith('mute', /did not answer within 1000 ms/, 1_000);
  await failsWith('liar', /is not one of acme.example root.key/);
  assert.ok(verifyBytes(key.publicKey, bytes, await key.sign(bytes)));
});

for (const [name, line, wanted] of [
  ['no JSON', 'echo nothing', { code: 'IDENTITY_KEY_UNAVAILABLE', message: /no JSON/ }],
  ['JSON of another shape', 'echo "{}"', { code: 'IDENTITY_KEY_UNAVAILABLE', message: /publicKey/ }],
  ['no public key', 'echo "{\\"publicKey\\":\\"key\\"}"', { code: 'IDENTITY_KEY_REFUSED', message: /no public key/ }],
  ['more than it may', 'head -c 200000 /dev/zero', { code: 'IDENTITY_KEY_UNAVAILABLE', message: /longer than/ }],
  ['nothing, and fails with a long complaint', 'head -c 100000 /dev/zero | tr "\\0" x >&2; exit 9', { code: 'IDENTITY_KEY_UNAVAILABLE', message: /ended with 9: x{200}$/ }],
  ['after its standard output was left to a child that stays', 'sleep 600 & echo "{\\"publicKey\\":null}"; kill -9 $$', { code: 'IDENTITY_KEY_UNAVAILABLE', message: /./ }],
] as const) {
  test(`a program that answers ${name} is refused, and holds nobody up`, async () => {
    const keys = answering(line, 5_000);
    await assert.rejects(keys.read('root.key'), wanted);
    await keys.close();
  });
}

test('a program that is not there is told', async () => {
  const keys = programKeyStore({ command: ['/nowhere/keeper'], label: 'acme.example', clock: systemClock });
  await assert.rejects(keys.read('root.key'), { code: 'IDENTITY_KEY_UNAVAILABLE', message: /cannot be run/ });
});

test('a weak key is refused', async () => {
  const pem = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const path = join(await newFolder(), 'answer');
  await writeFile(path, JSON.stringify({ publicKey: pem }));
  await assert.rejects(answering(`cat ${path}`).read('root.key'), { code: 'IDENTITY_KEY_REFUSED', message: /weaker/ });
});
