// A quick certificate authority for tests: a root, one cluster's intermediate, and SVIDs of that cluster.
import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { type Bundle, clusterTrustDomain, type SpiffeId, type TrustDomain } from '@isthmus/model';
import { type Issuer, signIntermediate, signRoot, signSvid } from './certificate.ts';
import { generateKey } from './key.ts';
import { makeX509Svid, type X509Svid } from './x509-svid.ts';

export * from './cases/index.ts';
export * from './odd-certificate.ts';

export type TestAuthority = {
  readonly root: Issuer;
  readonly intermediate: Issuer;
  readonly trustDomain: TrustDomain;
  readonly bundle: Bundle;
  /** An SVID of one hour, or of the life given. */
  readonly issue: (spiffeId: SpiffeId | string, over?: { readonly nowMs?: number; readonly ttlMs?: number; readonly key?: KeyObject; readonly dnsNames?: readonly string[] }) => X509Svid;
};

const HOUR_MS = 3_600_000;

/** `root` of an earlier one puts two clusters under the same root. */
export function testAuthority(options: { readonly federation?: string; readonly cluster?: string; readonly nowMs?: number; readonly root?: Issuer } = {}): TestAuthority {
  const { federation = 'acme.example', cluster = 'east', nowMs = Date.now() } = options;
  const trustDomain = clusterTrustDomain(cluster, federation);
  const root = options.root ?? newRoot(federation as TrustDomain, nowMs);
  const key = generateKey();
  const cert = signIntermediate({ issuer: root, publicKey: createPublicKey(key), trustDomain, nowMs, ttlMs: 24 * HOUR_MS });
  const intermediate = { cert, key };
  return {
    root,
    intermediate,
    trustDomain,
    bundle: { trustDomain, sequence: 1, refreshHintSeconds: 300, x509Authorities: [root.cert.toString('base64')] },
    issue: (spiffeId, over = {}) => {
      const leafKey = over.key ?? generateKey();
      const leaf = signSvid({
        issuer: intermediate,
        publicKey: createPublicKey(leafKey),
        spiffeId: spiffeId as SpiffeId,
        dnsNames: over.dnsNames ?? [],
        nowMs: over.nowMs ?? nowMs,
        ttlMs: over.ttlMs ?? HOUR_MS,
      });
      return makeX509Svid([leaf, cert], leafKey);
    },
  };
}

function newRoot(federation: TrustDomain, nowMs: number): Issuer {
  const key = generateKey();
  return { key, cert: signRoot({ key, federation, nowMs, ttlMs: 3_650 * 24 * HOUR_MS }) };
}

/** A JWT signed by an EC P-256 key with ES256, its claims whatever they are. */
export function signTestToken(claims: object, { key, kid }: { readonly key: KeyObject; readonly kid: string }): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${part({ alg: 'ES256', kid, typ: 'JWT' })}.${part(claims)}`;
  return `${body}.${sign('sha256', Buffer.from(body), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
