import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Bundle, SpiffeId, TrustDomain } from '@isthmus/model';
import { type Issuer, signIntermediate, signRoot, signSvid } from './certificate.ts';
import { type Asn1, bits, bool, childrenOf, extension, fromDer, int, name, oid, seq, signatureAlgorithm, signed, smallInt, spkiDer, tagged, time } from './der.ts';
import { OID } from './oid.ts';
import { generateKey, type KeyKind } from './key.ts';
import { testAuthority } from './testing.ts';
import { verifySvid } from './verify.ts';

const NOW_MS = Date.now();
const HOUR_MS = 3_600_000;
const PAYMENTS = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });
const stranger = testAuthority();

function reasonOf(chain: readonly Buffer[], bundle: Bundle | undefined = east.bundle, nowMs = NOW_MS): string {
  const verdict = verifySvid({ chain, bundle, nowMs });
  return verdict.ok ? 'ok' : verdict.reason;
}

test('an SVID of its own cluster is what it says', () => {
  assert.deepEqual(verifySvid({ chain: east.issue(PAYMENTS).chain, bundle: east.bundle, nowMs: NOW_MS }).ok && 'ok', 'ok');
  assert.equal(reasonOf([...east.issue(PAYMENTS).chain, east.root.cert]), 'ok');
});

for (const kind of ['ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  test(`an SVID with a key of kind ${kind} verifies`, () => assert.equal(reasonOf(east.issue(PAYMENTS, { key: generateKey(kind) }).chain), 'ok'));
}

for (const kind of ['ed25519', 'rsa-2048'] satisfies KeyKind[]) {
  test(`a chain whose root is of kind ${kind} verifies`, () => {
    const key = generateKey(kind);
    const root: Issuer = { key, cert: signRoot({ key, federation: 'acme.example' as TrustDomain, nowMs: NOW_MS, ttlMs: HOUR_MS * 100 }) };
    const authority = testAuthority({ root });
    assert.equal(reasonOf(authority.issue(PAYMENTS).chain, authority.bundle), 'ok');
  });
}

test('west’s authority cannot sign an east name', () => assert.equal(reasonOf(west.issue(PAYMENTS).chain), 'name-constraint'));

test('another root cannot vouch for the same name', () => {
  const foreign = stranger.issue(PAYMENTS);
  assert.equal(reasonOf(foreign.chain), 'untrusted');
  assert.equal(reasonOf(foreign.chain, stranger.bundle), 'ok');
});

test('a CA of the right root without constraints, but of another SPIFFE ID, cannot issue for this domain', () => {
  const key = generateKey();
  const unconstrained = certify({ issuer: east.root, key, id: 'spiffe://acme.example', ca: true });
  assert.equal(reasonOf(leafUnder({ cert: unconstrained, key })), 'issuer-mismatch');
});

test('the root itself issues nothing for a cluster', () => assert.equal(reasonOf(leafUnder(east.root)), 'issuer-mismatch'));

test('expired and future certificates are refused, a minute of skew is tolerated', () => {
  const { chain } = east.issue(PAYMENTS);
  assert.equal(reasonOf(chain, east.bundle, NOW_MS + HOUR_MS + 30_000), 'ok');
  assert.equal(reasonOf(chain, east.bundle, NOW_MS + HOUR_MS + 120_000), 'expired');
  assert.equal(reasonOf(chain, east.bundle, NOW_MS - 600_000), 'not-yet-valid');
});

test('the skew that is tolerated is the one asked for', () => {
  const { chain } = east.issue(PAYMENTS);
  const at = (nowMs: number, skewMs: number): boolean => verifySvid({ chain, bundle: east.bundle, nowMs, skewMs }).ok;
  assert.deepEqual([at(NOW_MS + HOUR_MS + 5_000, 0), at(NOW_MS + HOUR_MS + 5_000, 10_000), at(NOW_MS - 120_000, 10_000), at(NOW_MS - 120_000, 90_000)], [false, true, false, true]);
});

test('a validity that is no time is refused, not endless', () => {
  const key = generateKey();
  const garbled = fromDer(Buffer.concat([Buffer.from([0x17, 13]), Buffer.from('99x101000000Z')]));
  assert.equal(reasonOf([certify({ issuer: east.intermediate, key, id: PAYMENTS, notAfter: garbled }), east.intermediate.cert]), 'malformed');
});

test('an identity is good for as long as the shortest-lived certificate of its chain', () => {
  const key = generateKey();
  const outliving = certify({ issuer: east.intermediate, key, id: PAYMENTS, notAfter: time(NOW_MS + 48 * HOUR_MS) });
  const verdict = verifySvid({ chain: [outliving, east.intermediate.cert], bundle: east.bundle, nowMs: NOW_MS });
  assert.ok(verdict.ok && Math.abs(verdict.expiresAtMs - (NOW_MS + 24 * HOUR_MS)) < 2_000);
});

test('an intermediate makes no further intermediates: its path length is 0', () => {
  const key = generateKey();
  const below = certify({ issuer: east.intermediate, key, id: 'spiffe://east.acme.example', ca: true });
  assert.equal(reasonOf([...leafUnder({ cert: below, key }), east.intermediate.cert]), 'path-length');
});

test('an expired intermediate is refused though its leaf would be young', () => {
  assert.equal(reasonOf(east.issue(PAYMENTS).chain, east.bundle, NOW_MS + 25 * HOUR_MS), 'expired');
});

test('no bundle, another domain’s bundle, and an emptied bundle trust nothing', () => {
  const { chain } = east.issue(PAYMENTS);
  assert.equal(verifySvid({ chain, bundle: undefined, nowMs: NOW_MS }).ok, false);
  assert.equal(reasonOf(chain, west.bundle), 'wrong-trust-domain');
  assert.equal(reasonOf(chain, { ...east.bundle, x509Authorities: [] }), 'untrusted');
});

test('a root that cannot be read takes no other of its bundle with it', () => {
  const { chain } = east.issue(PAYMENTS);
  const [good = ''] = east.bundle.x509Authorities;
  assert.equal(reasonOf(chain, { ...east.bundle, x509Authorities: ['AAAA', good] }), 'ok');
  assert.equal(reasonOf(chain, { ...east.bundle, x509Authorities: ['AAAA'] }), 'untrusted');
});

test('a leaf that is a CA, has two names, none, or may sign certificates is no SVID, and one that names only a trust domain neither', () => {
  const key = generateKey();
  const make = (over: Partial<Parameters<typeof certify>[0]>): string => reasonOf([certify({ issuer: east.intermediate, key, id: PAYMENTS, ...over }), east.intermediate.cert]);
  assert.equal(make({}), 'ok');
  assert.equal(make({ ca: true }), 'leaf-is-ca');
  assert.equal(make({ ids: [PAYMENTS, 'spiffe://east.acme.example/other'] }), 'not-an-svid');
  assert.equal(make({ ids: [] }), 'not-an-svid');
  assert.equal(make({ id: 'spiffe://east.acme.example' }), 'not-an-svid', 'X509-SVID §5.2: a leaf has a path');
  assert.equal(make({ id: 'spiffe://EAST.acme.example/x' }), 'not-an-svid');
  assert.equal(make({ keyUsage: 0x84 }), 'key-usage');
  assert.equal(make({ critical: '1.2.3.4' }), 'critical-extension');
});

test('a chain that is empty, too long, cut off or garbage is refused', () => {
  const { chain } = east.issue(PAYMENTS);
  assert.equal(reasonOf([]), 'malformed');
  assert.equal(reasonOf(Array.from({ length: 6 }, () => chain[0] ?? Buffer.alloc(0))), 'too-large');
  assert.equal(reasonOf(chain.slice(0, 1)), 'untrusted');
  assert.equal(reasonOf([Buffer.from('no certificate')]), 'malformed');
});

test('a flipped bit anywhere is never an exception and never the same identity by another signature', () => {
  const { chain } = east.issue(PAYMENTS);
  const [leaf, issuer] = chain;
  assert.ok(leaf && issuer);
  fc.assert(
    fc.property(fc.nat(leaf.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Buffer.from(leaf);
      changed[at] = (changed[at] ?? 0) ^ mask;
      return !verifySvid({ chain: [changed, issuer], bundle: east.bundle, nowMs: NOW_MS }).ok;
    }),
    { numRuns: 500 },
  );
});

function leafUnder(issuer: Issuer): Buffer[] {
  const key = generateKey();
  return [signSvid({ issuer, publicKey: createPublicKey(key), spiffeId: PAYMENTS, nowMs: NOW_MS, ttlMs: HOUR_MS }), issuer.cert];
}

/** A certificate with whatever flaw the test wants. */
function certify(c: { readonly issuer: Issuer; readonly key: ReturnType<typeof generateKey>; readonly id: string; readonly ids?: readonly string[]; readonly ca?: boolean; readonly keyUsage?: number; readonly critical?: string; readonly notAfter?: Asn1 }): Buffer {
  const model = signIntermediate({ issuer: c.issuer, publicKey: createPublicKey(c.key), trustDomain: 'x' as TrustDomain, nowMs: NOW_MS, ttlMs: HOUR_MS });
  const issuerName = nameOf(model);
  const ids = c.ids ?? [c.id];
  const usage = c.keyUsage ?? (c.ca === true ? 0x06 : 0x80);
  const tbs = seq(
    tagged(0, [smallInt(2)]), int(Buffer.from([0x40, 1, 2])), signatureAlgorithm(c.issuer.key), issuerName,
    seq(time(NOW_MS - 60_000), c.notAfter ?? time(NOW_MS + HOUR_MS)), name({ commonName: 'flawed' }), fromDer(spkiDer(createPublicKey(c.key))),
    tagged(3, [
      seq(
        extension(OID.basicConstraints, true, c.ca === true ? seq(bool(true)) : seq()),
        extension(OID.keyUsage, true, bits(Buffer.from([usage]))),
        ...(ids.length === 0 ? [] : [extension(OID.subjectAltName, false, seq(...ids.map((id) => tagged(6, Buffer.from(id)))))]),
        ...(c.critical === undefined ? [] : [extension(c.critical, true, seq(oid('1.2.3')))]),
      ),
    ]),
  );
  return signed(tbs, c.issuer.key);
}

function nameOf(issued: Buffer) {
  const parts = fromTbs(issued);
  const found = parts[3];
  assert.ok(found);
  return found;
}

function fromTbs(der: Buffer) {
  return childrenOf(childrenOf(fromDer(der))[0]);
}
