import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { generateKey, verifyBytes } from '@isthmus/pki';
import { systemClock } from '@isthmus/runtime';
import { testDir } from '../testing.ts';
import { CKA } from './constants.ts';
import { derSignature, keyOf, pkcs11KeyStore } from './key-store.ts';
import { makeSoftHsm, type SoftHsm, SOFTHSM, WITHOUT_SOFTHSM } from './testing.ts';

const PIN = '4321-secret';

test('an ECDSA signature of a token becomes the one certificates carry, also where a half begins with zeros or a high bit', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  for (let i = 0; i < 600; i++) {
    const bytes = Buffer.from(`message ${i}`);
    const raw = sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    assert.ok(verifyBytes(publicKey, bytes, derSignature(raw)), raw.toString('hex'));
  }
});

test('a public key is read from a token’s attributes, bare or wrapped, and anything else is none', () => {
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const key = createPublicKey(generateKey());
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  const p256 = Buffer.from('06082a8648ce3d030107', 'hex');
  const ec = (params: Buffer, at: Buffer): ReadonlyMap<number, Buffer> => new Map([[CKA.keyType, number(3)], [CKA.ecParams, params], [CKA.ecPoint, at]]);
  assert.ok(keyOf(ec(p256, point))?.equals(key));
  assert.ok(keyOf(ec(p256, Buffer.concat([Buffer.from([4, 65]), point])))?.equals(key));
  for (const [params, at] of [
    [p256, point.subarray(1)],
    [p256, Buffer.alloc(65, 4)],
    [p256, Buffer.alloc(0)],
    [Buffer.from('06052b81040022', 'hex'), point],
    [Buffer.from('3081', 'hex'), point],
  ] as const) {
    assert.equal(keyOf(ec(params, at)), undefined);
  }
  assert.equal(keyOf(new Map()), undefined);
  assert.equal(keyOf(new Map([[CKA.keyType, number(0)], [CKA.modulus, Buffer.alloc(0)], [CKA.publicExponent, Buffer.alloc(0)]])), undefined);
});

test('a module that is not there, or is no module, is an honest failure', async () => {
  for (const module of ['/nowhere/libtoken.so', process.execPath]) {
    const keys = pkcs11KeyStore({ module, token: 'isthmus', pin: async () => Buffer.from(PIN), label: 'acme.example', clock: systemClock });
    await assert.rejects(keys.read('root.key'), { code: 'IDENTITY_KEY_UNAVAILABLE' });
    await keys.close();
  }
});

describe('keys in a SoftHSM token', { skip: WITHOUT_SOFTHSM }, () => {
  let dir: Awaited<ReturnType<typeof testDir>>;
  let hsm: SoftHsm;
  const open = (over: { readonly pin?: () => Promise<Buffer>; readonly token?: string; readonly label?: string } = {}) =>
    pkcs11KeyStore({ module: SOFTHSM ?? '', token: 'isthmus', pin: async () => Buffer.from(PIN), label: 'acme.example', clock: systemClock, timeoutMs: 60_000, ...over });

  before(async () => {
    dir = await testDir('hsm');
    hsm = await makeSoftHsm(dir.path);
    Object.assign(process.env, hsm.env);
    hsm.addToken('isthmus', PIN);
  });
  after(() => dir.remove());

  for (const kind of ['ec-p256', 'rsa-2048'] as const) {
    test(`${kind}: made once, found again, its signatures verify, gone when it is destroyed`, async () => {
      const keys = open();
      const name = `root-${kind}.key`;
      assert.equal(await keys.read(name), undefined);
      const key = await keys.make(name, kind);
      assert.equal(key.place, 'pkcs11');
      const bytes = Buffer.from('what is to be signed');
      assert.ok(verifyBytes(key.publicKey, bytes, await key.sign(bytes)));
      assert.ok((await keys.make(name, kind)).publicKey.equals(key.publicKey), 'not made a second time');
      await keys.close();
      assert.ok(verifyBytes(key.publicKey, bytes, await key.sign(bytes)), 'a closed session is opened anew');
      const again = open();
      assert.ok((await again.read(name))?.publicKey.equals(key.publicKey));
      const other = open({ label: 'other.example' });
      assert.equal(await other.read(name), undefined, 'another federation’s key of that name is another key');
      await other.close();
      await again.destroy(name);
      await again.destroy(name);
      assert.equal(await again.read(name), undefined);
      await assert.rejects(key.sign(bytes), { code: 'IDENTITY_KEY_UNAVAILABLE' });
      await Promise.all([keys.close(), again.close()]);
    });
  }

  test('many signatures at once come one after the other, and all verify', async () => {
    const keys = open();
    const key = await keys.make('root-many.key', 'ec-p256');
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const bytes = Buffer.from(`message ${i}`);
        assert.ok(verifyBytes(key.publicKey, bytes, await key.sign(bytes)));
      }),
    );
    await keys.close();
  });

  test('a wrong PIN is told once and not tried again, so that the token does not lock itself; a corrected one is', async () => {
    const given: string[] = [];
    let pin = 'wrong';
    const keys = open({
      pin: async () => {
        given.push(pin);
        return Buffer.from(pin);
      },
    });
    for (let i = 0; i < 20; i++) await assert.rejects(keys.read('root.key'), { code: 'IDENTITY_KEY_LOCKED' });
    await assert.rejects(keys.make('root.key', 'ec-p256'), (error: Error) => {
      assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /wrong/);
      return true;
    });
    pin = PIN;
    assert.equal(await keys.read('root.key'), undefined);
    assert.equal(given.length, 22);
    await keys.close();
  });

  test('a key that could be taken out of the token, or is there twice, is refused', async () => {
    const pem = join(dir.path, 'import.pem');
    await writeFile(pem, generateKey().export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    for (const id of ['01', '02']) hsm.util('--import', pem, '--token', 'isthmus', '--pin', PIN, '--label', 'acme.example twice.key', '--id', id);
    const keys = open();
    await assert.rejects(keys.read('twice.key'), { code: 'IDENTITY_KEY_REFUSED', message: /2 keys/ });
    await assert.rejects(keys.make('twice.key', 'ec-p256'), { code: 'IDENTITY_KEY_REFUSED' });
    await keys.close();
  });

  test('a token of another label is none, and one label on two tokens is refused', async () => {
    const nobodys = open({ token: 'nobody’s' });
    hsm.addToken('twin', PIN);
    hsm.addToken('twin', PIN);
    await assert.rejects(nobodys.read('root.key'), { code: 'IDENTITY_KEY_UNAVAILABLE', message: /shows no token of that label/ });
    const twin = open({ token: 'twin' });
    await assert.rejects(twin.read('root.key'), { code: 'IDENTITY_KEY_REFUSED', message: /2 tokens/ });
    await Promise.all([nobodys.close(), twin.close()]);
  });

  test('a token that is pulled out is told, and used again once it is back', async () => {
    const keys = open();
    const key = await keys.make('root-pulled.key', 'ec-p256');
    await keys.close();
    await rename(join(dir.path, 'tokens'), join(dir.path, 'drawer'));
    await mkdir(join(dir.path, 'tokens'), { mode: 0o700 });
    const bytes = Buffer.from('bytes');
    await assert.rejects(key.sign(bytes), { code: 'IDENTITY_KEY_UNAVAILABLE' });
    await rename(join(dir.path, 'tokens'), join(dir.path, 'empty'));
    await rename(join(dir.path, 'drawer'), join(dir.path, 'tokens'));
    assert.ok(verifyBytes(key.publicKey, bytes, await key.sign(bytes)));
    await keys.close();
  });
});
