// How many certificates an authority signs, and how many chains a peer verifies, in a second of one core's work.
import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import type { SpiffeId, TrustDomain } from '@isthmus/model';
import { openBundleSet } from './bundle-set.ts';
import { type Issuer, signIntermediate, signRoot, signSvid } from './certificate.ts';
import { makeCsr, parseCsr } from './csr.ts';
import { jwtAuthorityOf, signJwtSvid, verifyJwtSvid } from './jwt-svid.ts';
import { generateKey, type KeyKind } from './key.ts';
import { signBytes } from './signer.ts';
import { testAuthority } from './testing.ts';
import { verifySvid } from './verify.ts';

const WARM_UP_MS = 300;
const MEASURED_MS = 1_500;
const ID = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
const nowMs = Date.now();

/** Counted by the processor time of this process, so that others on the machine do not count. */
async function perSecond(work: () => unknown): Promise<number> {
  const run = async (limitMs: number): Promise<number> => {
    const from = process.cpuUsage();
    for (let done = 1; ; done++) {
      await work();
      const { user, system } = process.cpuUsage(from);
      const usedMs = (user + system) / 1_000;
      if (usedMs >= limitMs) return (done * 1_000) / usedMs;
    }
  };
  await run(WARM_UP_MS);
  return Math.round(await run(MEASURED_MS));
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);

for (const kind of ['ec-p256', 'ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  const rootKey = generateKey(kind);
  const root: Issuer = { key: rootKey, cert: signRoot({ key: rootKey, federation: 'acme.example' as TrustDomain, nowMs, ttlMs: 864e5 }) };
  const caKey = generateKey(kind);
  const cert = signIntermediate({ issuer: root, publicKey: createPublicKey(caKey), trustDomain: 'east.acme.example' as TrustDomain, nowMs, ttlMs: 864e5 });
  const east = testAuthority({ root });
  const key = generateKey();
  const csr = makeCsr({ key, spiffeId: ID });
  // Keys as they come out of requests; reading them is part of the line after.
  const publicKeys = Array.from({ length: 256 }, () => createPublicKey(generateKey()));
  let turn = 0;
  const issue = (publicKey = publicKeys[turn++ % publicKeys.length] ?? createPublicKey(key)): Buffer => signSvid({ issuer: { cert, key: caKey }, publicKey, spiffeId: ID, nowMs, ttlMs: 3_600_000 });
  const chain = [issue(createPublicKey(key)), cert];
  print(`signing keys ${kind}:`);
  const some = Buffer.alloc(600, 7);
  print(`  bare signatures per second, which nothing here can pass: ${await perSecond(() => signBytes(caKey, some))}`);
  print(`  certificates signed per second: ${await perSecond(() => issue())}`);
  const rsaLeaf = parseCsr(makeCsr({ key: generateKey('rsa-2048'), spiffeId: ID }));
  if (rsaLeaf.ok) print(`  certificates for RSA-2048 keys signed per second: ${await perSecond(() => issue(rsaLeaf.value.publicKey))}`);
  print(`  requests (EC P-256) read and certificates signed per second: ${await perSecond(() => {
    const read = parseCsr(csr);
    if (!read.ok) throw new Error('the request does not parse');
    issue(read.value.publicKey);
  })}`);
  print(`  chains verified per second: ${await perSecond(() => {
    if (!verifySvid({ chain, bundle: east.bundle, nowMs }).ok) throw new Error('the chain does not verify');
  })}`);
}

for (const kind of ['ec-p256', 'rsa-2048'] satisfies KeyKind[]) {
  const key = generateKey(kind);
  const bundles = openBundleSet([{ trustDomain: 'east.acme.example', sequence: 1, refreshHintSeconds: 300, x509Authorities: [], jwtAuthorities: [jwtAuthorityOf(key, 'k')] }]);
  const request = { key, keyId: 'k', spiffeId: ID, audience: ['a'], nowMs, ttlMs: 300_000 };
  const token = await signJwtSvid(request);
  print(`JWT-SVIDs with ${kind}: ${await perSecond(() => signJwtSvid(request))} signed, ${await perSecond(() => verifyJwtSvid({ token, audience: 'a', bundles, nowMs }))} verified per second`);
}

print(opensslSpeed());

/** What openssl itself signs in a second of this processor: an RSA issuer cannot do more. */
function opensslSpeed(): string {
  try {
    const lines = execFileSync('openssl', ['speed', '-seconds', '1', 'rsa2048', 'ecdsap256', 'ed25519'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n');
    return ['openssl speed:', ...lines.filter((line) => /^ *(?:rsa|\d+ bits)/.test(line)).map((line) => `  ${line.trim()}`)].join('\n');
  } catch {
    return 'openssl speed: openssl is not here';
  }
}
