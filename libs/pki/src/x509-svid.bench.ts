// How many certificates an authority signs, and how many chains a peer verifies, in a second on one core.
import { createPublicKey } from 'node:crypto';
import type { SpiffeId } from '@isthmus/model';
import { signSvid } from './certificate.ts';
import { makeCsr, parseCsr } from './csr.ts';
import { generateKey } from './key.ts';
import { testAuthority } from './testing.ts';
import { verifySvid } from './verify.ts';

const WARM_UP_MS = 300;
const MEASURED_MS = 2_000;
const ID = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
const east = testAuthority();
const key = generateKey();
const publicKey = createPublicKey(key);
const csr = makeCsr({ key, spiffeId: ID });
const { chain } = east.issue(ID);
const nowMs = Date.now();

function perSecond(work: () => void): number {
  const run = (limitMs: number): number => {
    const from = performance.now();
    let done = 0;
    while (performance.now() - from < limitMs) {
      work();
      done += 1;
    }
    return (done * 1_000) / (performance.now() - from);
  };
  run(WARM_UP_MS);
  return Math.round(run(MEASURED_MS));
}

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const sign = (): void => void signSvid({ issuer: east.intermediate, publicKey, spiffeId: ID, nowMs, ttlMs: 3_600_000 });
print(`certificates signed per second: ${perSecond(sign)}`);
print(`requests read and certificates signed per second: ${perSecond(() => {
  if (!parseCsr(csr).ok) throw new Error('the request does not parse');
  sign();
})}`);
print(`chains verified per second: ${perSecond(() => {
  if (!verifySvid({ chain, bundle: east.bundle, nowMs }).ok) throw new Error('the chain does not verify');
})}`);
