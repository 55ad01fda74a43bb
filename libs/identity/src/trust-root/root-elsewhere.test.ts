import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { spiffeIds } from '@isthmus/model';
import { generateKey } from '@isthmus/pki';
import { call, type trust } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { fileKeyStore, type KeyStore, movingKeyStore } from '../key-store.ts';
import { pkcs11KeyStore } from '../pkcs11/key-store.ts';
import { makeSoftHsm, SOFTHSM, WITHOUT_SOFTHSM } from '../pkcs11/testing.ts';
import { programKeyStore } from '../program/key-store.ts';
import { FEDERATION, recordingLog, startTestCluster, startTestTrustRoot, testDir, type TestTrustRoot, until } from '../testing.ts';
import { backupTrustRoot, restoreTrustRoot } from './backup.ts';
import type { RotationDocument } from './rotor.ts';
import { openTrustRoot } from './trust-root.ts';

const PIN = '4321-secret';
const LIMIT = { timeout: 120_000 };
const QUICK = { logN: 10, r: 8, p: 1 };
const passphrase = Buffer.from('open sesame, twice');

/** A place outside this process that holds keys, and can be taken away. */
type Place = { readonly name: string; readonly skip: string | false; open(label?: string): KeyStore; setUp(directory: string): Promise<void>; takeAway(): Promise<void>; giveBack(): Promise<void>; lose(): Promise<void> };

const KEEPER = new URL('../program/testdata/keeper.mjs', import.meta.url).pathname;

function token(): Place {
  let [tokens, drawer] = ['', ''];
  return {
    name: 'a PKCS#11 token',
    skip: WITHOUT_SOFTHSM,
    open: (label = 'acme.example') => pkcs11KeyStore({ module: SOFTHSM ?? '', token: 'isthmus', pin: async () => Buffer.from(PIN), label, clock: systemClock, timeoutMs: 60_000 }),
    async setUp(directory) {
      const hsm = await makeSoftHsm(directory);
      Object.assign(process.env, hsm.env);
      hsm.addToken('isthmus', PIN);
      [tokens, drawer] = [join(directory, 'tokens'), join(directory, 'drawer')];
    },
    async takeAway() {
      await rename(tokens, drawer);
      await mkdir(tokens, { mode: 0o700 });
    },
    async giveBack() {
      await rm(tokens, { recursive: true });
      await rename(drawer, tokens);
    },
    async lose() {
      await rm(tokens, { recursive: true });
      await mkdir(tokens, { mode: 0o700 });
    },
  };
}

function program(): Place {
  let folder = '';
  return {
    name: 'a program',
    skip: false,
    open: (label = 'acme.example') => programKeyStore({ command: [process.execPath, KEEPER, folder], label, clock: systemClock, timeoutMs: 60_000 }),
    async setUp(directory) {
      folder = join(directory, 'keeper');
      await mkdir(folder, { mode: 0o700 });
    },
    takeAway: () => writeFile(join(folder, 'away'), ''),
    giveBack: () => rm(join(folder, 'away')),
    async lose() {
      for (const name of readdirSync(folder)) await rm(join(folder, name));
    },
  };
}

async function rotate(root: TestTrustRoot): Promise<void> {
  await call<trust.RotateRequest, trust.RotationStatus>(root.admin.rotate.bind(root.admin), { action: 'begin', without: [], compromised: false, holdBefore: '' }, { timeoutMs: 60_000 });
  await until(async () => (await trustStatus(root)).rotation?.step === 'done', 'the rotation is done', 60_000);
}

async function trustStatus(root: TestTrustRoot): Promise<RotationDocument> {
  const { document } = await call<trust.GetRotationRequest, trust.RotationStatus>(root.admin.getRotation.bind(root.admin), {}, { timeoutMs: 60_000 });
  return JSON.parse(document.toString()) as RotationDocument;
}

for (const place of [token(), program()]) {
  describe(`a root whose key is in ${place.name}`, { skip: place.skip }, () => {
    let dir: Awaited<ReturnType<typeof testDir>>;
    const opened = new Set<{ close(): Promise<void> }>();
    const open = <T extends { close(): Promise<void> }>(part: T): T => (opened.add(part), part);
    const options = (stateDir: string, keys: KeyStore) => ({ stateDir, federation: FEDERATION, clock: systemClock, random: systemRandom, log: silentLog(), keys });

    before(async () => {
      dir = await testDir('elsewhere');
      await place.setUp(dir.path);
    });
    after(async () => {
      for (const part of [...opened].toReversed()) await part.close();
      await dir.remove();
    });

    test('signs, survives a restart, leaves clusters issuing while it is away, comes back, and is rotated and destroyed there', LIMIT, async () => {
      const stateDir = join(dir.path, 'life');
      const keys = open(place.open());
      const { log, lines } = recordingLog();
      const metrics = openMetrics();
      let root = await startTestTrustRoot(stateDir, { keys, log, metrics });
      const { rootSha256 } = root.root;
      assert.ok(!existsSync(join(stateDir, 'root.key')), 'no key is in the state directory');
      assert.match(readFileSync(join(stateDir, 'trust-root.state'), 'utf8'), /"keyIn":"(?:pkcs11|program)"/);
      const east = await startTestCluster(join(dir.path, 'life-east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east') });

      await root.close();
      root = await startTestTrustRoot(stateDir, { keys, port: root.port, log, metrics });
      open({ close: () => root.close() });
      open(east);
      assert.equal(root.root.rootSha256, rootSha256, 'the same root');
      await until(() => east.authority.status().trustRootReachable, 'the cluster hears it again', 60_000);
      await east.authority.renewNow();
      assert.equal(east.authority.status().lastError, undefined);

      // SoftHSM signs on from memory as long as a session is open.
      await keys.close();
      await place.takeAway();
      await east.authority.renewNow();
      assert.match(east.authority.status().lastError ?? '', /token "isthmus" cannot be used|did not sign/);
      assert.equal(root.root.isKeyAvailable(), false);
      assert.deepEqual((await trustStatus(root)).key?.isAvailable, false);
      assert.match(await metrics.text(), /isthmus_identity_root_key_available\{.*\} 0/);
      east.authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId: spiffeIds.gateway(east.authority.trustDomain) });
      await place.giveBack();
      await east.authority.renewNow();
      assert.equal(east.authority.status().lastError, undefined);
      assert.equal(root.root.isKeyAvailable(), true);

      const before = await keys.read('root.key');
      await rotate(root);
      assert.notEqual(root.root.rootSha256, rootSha256);
      await until(() => east.authority.rootSha256 === root.root.rootSha256, 'the cluster is under the new root');
      await until(async () => (await keys.read('root.key')) === undefined, 'the old key is destroyed where it was', 60_000);
      await assert.rejects(before?.sign(Buffer.from('anything')) ?? Promise.resolve(), { code: 'IDENTITY_KEY_UNAVAILABLE' });
      assert.ok(!lines.join('\n').includes(PIN), 'the PIN is in no line of the log');
    });

    test('moves from files by a rotation: the new root’s key is made there, the file is destroyed', LIMIT, async () => {
      const stateDir = join(dir.path, 'moved');
      await (await openTrustRoot(options(stateDir, fileKeyStore(stateDir)))).close();
      assert.ok(existsSync(join(stateDir, 'root.key')));
      const keys = open(movingKeyStore(place.open('moved'), fileKeyStore(stateDir)));
      const { log, lines } = recordingLog();
      const root = await startTestTrustRoot(stateDir, { keys, log });
      open(root);
      assert.match(lines.join('\n'), /not where keys are made now/);
      await rotate(root);
      await until(() => !existsSync(join(stateDir, 'root.key')), 'the file is gone', 60_000);
      assert.deepEqual(readdirSync(stateDir).filter((name) => name.endsWith('.key')), []);
    });

    test('is never made anew: neither where its state was lost, nor where the key was', LIMIT, async () => {
      const stateDir = join(dir.path, 'lost');
      const keys = open(place.open('lost'));
      const first = await openTrustRoot(options(stateDir, keys));
      await first.close();
      const empty = join(dir.path, 'emptied');
      await assert.rejects(openTrustRoot(options(empty, keys)), { code: 'IDENTITY_KEY_REFUSED', message: /the state was lost/ });
      await assert.rejects(openTrustRoot(options(stateDir, open(place.open('other')))), { code: 'IDENTITY_STATE_MISMATCH', message: /root\.key (?:in the token|of the program) is missing/ });
      await assert.rejects(openTrustRoot(options(stateDir, fileKeyStore(stateDir))), { code: 'IDENTITY_STATE_MISMATCH' });
      assert.deepEqual(readdirSync(stateDir).filter((name) => name.endsWith('.key')), []);
      // A first start that was cut off after the key was made goes on with it.
      const begun = join(dir.path, 'begun');
      await mkdir(begun, { mode: 0o700 });
      await writeFile(join(begun, 'root-key.begun'), '', { mode: 0o600 });
      const gone = await openTrustRoot(options(begun, keys));
      await gone.close();
      assert.deepEqual(readdirSync(begun).filter((name) => name.endsWith('.begun')), []);
    });

    test('a backup holds all but the key, says so, and is of use with the key alone', LIMIT, async () => {
      const stateDir = join(dir.path, 'saved');
      const keys = open(place.open('saved'));
      const first = await openTrustRoot(options(stateDir, keys));
      await first.close();
      const path = join(dir.path, 'saved.backup');
      const made = await backupTrustRoot({ stateDir, path, passphrase, cost: QUICK, nowMs: systemClock.nowMs() });
      assert.deepEqual(made.keysElsewhere.map(({ name }) => name), ['root.key']);
      const restored = join(dir.path, 'restored');
      await restoreTrustRoot({ stateDir: restored, path, passphrase, checkpoint: made.log.hash, nowMs: systemClock.nowMs() });
      await assert.rejects(openTrustRoot(options(restored, open(place.open('nobody’s')))), { code: 'IDENTITY_STATE_MISMATCH' });
      const again = await openTrustRoot(options(restored, keys));
      assert.equal(again.rootSha256, first.rootSha256);
      await again.close();
      await keys.close();
      await place.lose();
      await assert.rejects(openTrustRoot(options(restored, keys)), (error: Error & { code?: string }) => {
        assert.match(error.code ?? '', /^IDENTITY_(?:KEY_UNAVAILABLE|STATE_MISMATCH)$/);
        return true;
      });
    });
  });
}
