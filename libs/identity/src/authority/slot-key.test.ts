import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { exportKeyPem, generateKey, verifySvid } from '@isthmus/pki';
import { openStateFile, systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { fileKeyStore, memoryKeyStore } from '../key-store.ts';
import { FEDERATION, startTestTrustRoot, testDir, type TestTrustRoot } from '../testing.ts';
import type { Authority, AuthorityOptions } from './authority.ts';
import { openAuthority } from './cluster-authority.ts';

const QUICK = { logN: 10, r: 8, p: 1 };
const passphrase = Buffer.from('open sesame, twice');
const ID = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
let dir: Awaited<ReturnType<typeof testDir>>;
let root: TestTrustRoot;
let count = 0;
before(async () => {
  dir = await testDir('slot-key');
  root = await startTestTrustRoot(join(dir.path, 'root'));
});
after(async () => {
  await root.close();
  await dir.remove();
});

async function joining(over: Partial<AuthorityOptions> = {}): Promise<AuthorityOptions> {
  const token = await root.token('east', { replace: true });
  return { stateDir: join(dir.path, `east-${count++}`), cluster: 'east', federation: FEDERATION, trustRoot: { address: root.address }, token, self: { locality: 'eu/a', gateways: [] }, clock: systemClock, random: systemRandom, log: silentLog(), ...over };
}
const files = (stateDir: string): string[] => readdirSync(stateDir).filter((name) => name.endsWith('.key')).sort();
const signs = (authority: Authority): boolean => {
  const { chain } = authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId: ID });
  return verifySvid({ chain, bundle: authority.bundles.get(authority.trustDomain), nowMs: Date.now() }).ok;
};

test('a cluster’s keys are files beside its state, two names in turn, and no key is in a state file', { timeout: 60_000 }, async () => {
  const config = await joining();
  const { stateDir } = config;
  const authority = await openAuthority(config);
  assert.deepEqual(files(stateDir), ['intermediate-a.key']);
  await authority.renewNow();
  await authority.renewNow();
  assert.deepEqual(files(stateDir), ['intermediate-a.key', 'intermediate-b.key']);
  await authority.signJwt({ spiffeId: ID, audience: ['a'] });
  assert.equal(files(stateDir).length, 3);
  await authority.close();
  for (const name of readdirSync(stateDir).filter((n) => n.endsWith('.state'))) assert.doesNotMatch(readFileSync(join(stateDir, name), 'latin1'), /PRIVATE KEY/, name);
  const again = await openAuthority({ ...config, token: undefined });
  assert.ok(signs(again));
  await again.close();
});

test('under a passphrase none of them is readable, a restart needs it, and renewals and tokens go on', { timeout: 60_000 }, async () => {
  const config = await joining();
  const { stateDir } = config;
  const keys = fileKeyStore(stateDir, { passphrase, cost: QUICK });
  const first = await openAuthority({ ...config, keys });
  const { token } = await first.signJwt({ spiffeId: ID, audience: ['a'] });
  await first.close();
  for (const name of files(stateDir)) assert.doesNotMatch(readFileSync(join(stateDir, name), 'latin1'), /PRIVATE KEY/, name);
  await assert.rejects(openAuthority({ ...config, token: undefined }), { code: 'IDENTITY_KEY_LOCKED' });
  const again = await openAuthority({ ...config, token: undefined, keys });
  await again.renewNow();
  assert.ok(signs(again));
  const kid = (text: string): string => Buffer.from(text.split('.')[0] ?? '', 'base64url').toString();
  assert.equal(kid((await again.signJwt({ spiffeId: ID, audience: ['a'] })).token), kid(token), 'the key of tokens is the same');
  await again.close();
});

test('a key that is missing, another’s or readable by others stops the start by its name; nothing is made anew', { timeout: 60_000 }, async () => {
  const config = await joining();
  const { stateDir } = config;
  await (await openAuthority(config)).close();
  const [path, copy] = [join(stateDir, 'intermediate-a.key'), join(stateDir, 'copy')];
  const resume = () => openAuthority({ ...config, token: undefined });
  await copyFile(path, copy);
  await writeFile(path, exportKeyPem(generateKey()));
  await assert.rejects(resume(), { code: 'IDENTITY_STATE_MISMATCH', message: /intermediate-a\.key .* not the one/ });
  await rm(path);
  await assert.rejects(resume(), { code: 'IDENTITY_STATE_MISMATCH', message: /intermediate-a\.key .* missing/ });
  await copyFile(copy, path);
  await chmod(path, 0o644);
  await assert.rejects(resume(), { code: 'STATE_EXPOSED' });
  await chmod(path, 0o600);
  await (await resume()).close();
});

test('a state with the key inside, as it was kept before, is taken, and its key moves out with the next renewal', { timeout: 60_000 }, async () => {
  const config = await joining();
  const { stateDir } = config;
  await (await openAuthority(config)).close();
  const file = openStateFile(join(stateDir, 'authority.state'), { maxBytes: 1_000_000 });
  const { keyName, ...state } = JSON.parse((await file.read()) ?? '{}') as Record<string, unknown>;
  assert.equal(keyName, 'intermediate-a.key');
  await file.write(JSON.stringify({ ...state, keyPem: readFileSync(join(stateDir, 'intermediate-a.key'), 'utf8') }));
  const again = await openAuthority({ ...config, token: undefined });
  assert.ok(signs(again));
  await again.renewNow();
  await again.close();
  assert.doesNotMatch(readFileSync(join(stateDir, 'authority.state'), 'latin1'), /PRIVATE KEY/);
});

test('where a key cannot be kept, the renewed intermediate is in memory only, and the one on disk stays good for a restart', { timeout: 60_000 }, async () => {
  const memory = memoryKeyStore();
  let isFull = false;
  const keys: typeof memory = {
    ...memory,
    make: async (name, kind) => {
      // Fails as a full disk does.
      if (isFull) await openStateFile('/proc/nowhere/key', { maxBytes: 10 }).write('key');
      return memory.make(name, kind);
    },
  };
  const config = await joining({ keys });
  const authority = await openAuthority(config);
  const before = authority.status().intermediateExpiresAtMs;
  isFull = true;
  await authority.renewNow();
  assert.equal(authority.status().lastError, undefined);
  assert.ok(authority.status().intermediateExpiresAtMs >= before && signs(authority));
  await authority.close();
  const again = await openAuthority({ ...config, token: undefined });
  assert.ok(signs(again));
  await again.close();
});
