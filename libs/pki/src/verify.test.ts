import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import fc from 'fast-check';
import type { Bundle, SpiffeId, TrustDomain } from '@isthmus/model';
import { type Issuer, signIntermediate, signRoot, signSvid, toPem } from './certificate.ts';
import { bits, bool, childrenOf, extension, fromDer, int, name, OID, oid, seq, signatureAlgorithm, signed, smallInt, spki, tagged, time } from './der.ts';
import { generateKey, type KeyKind } from './key.ts';
import { testAuthority } from './testing.ts';
import { verifySvid } from './verify.ts';
import { makeX509Svid, svidToPem, type X509Svid } from './x509-svid.ts';

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

test('a root and intermediate of RSA sign SVIDs that verify', () => {
  const key = generateKey('rsa-2048');
  const root: Issuer = { key, cert: signRoot({ key, federation: 'acme.example' as TrustDomain, nowMs: NOW_MS, ttlMs: HOUR_MS * 100 }) };
  const authority = testAuthority({ root });
  assert.equal(reasonOf(authority.issue(PAYMENTS).chain, authority.bundle), 'ok');
});

test('west’s authority cannot sign an east name: refused here, by OpenSSL and by node’s TLS', async () => {
  const forged = west.issue(PAYMENTS);
  assert.equal(reasonOf(forged.chain), 'name-constraint');
  assert.match(openssl(forged), /permitted subtree violation/);
  assert.equal(openssl(east.issue(PAYMENTS)), 'OK');
  assert.equal(await handshake(east.issue(PAYMENTS)), 'authorized');
  assert.match(await handshake(forged), /permitted subtree violation/);
});

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

test('an expired intermediate is refused though its leaf would be young', () => {
  assert.equal(reasonOf(east.issue(PAYMENTS).chain, east.bundle, NOW_MS + 25 * HOUR_MS), 'expired');
});

test('no bundle, another domain’s bundle, and an emptied bundle trust nothing', () => {
  const { chain } = east.issue(PAYMENTS);
  assert.equal(verifySvid({ chain, bundle: undefined, nowMs: NOW_MS }).ok, false);
  assert.equal(reasonOf(chain, west.bundle), 'wrong-trust-domain');
  assert.equal(reasonOf(chain, { ...east.bundle, x509Authorities: [] }), 'untrusted');
});

test('a leaf that is a CA, has two names, none, or may sign certificates is no SVID', () => {
  const key = generateKey();
  const make = (over: Partial<Parameters<typeof certify>[0]>): string => reasonOf([certify({ issuer: east.intermediate, key, id: PAYMENTS, ...over }), east.intermediate.cert]);
  assert.equal(make({}), 'ok');
  assert.equal(make({ ca: true }), 'not-an-svid');
  assert.equal(make({ ids: [PAYMENTS, 'spiffe://east.acme.example/other'] }), 'not-an-svid');
  assert.equal(make({ ids: [] }), 'not-an-svid');
  assert.equal(make({ id: 'spiffe://EAST.acme.example/x' }), 'not-an-svid');
  assert.equal(make({ keyUsage: 0x84 }), 'not-an-svid');
  assert.equal(make({ critical: '1.2.3.4' }), 'malformed');
});

test('a chain that is empty, too long, cut off or garbage is refused', () => {
  const { chain } = east.issue(PAYMENTS);
  assert.equal(reasonOf([]), 'malformed');
  assert.equal(reasonOf(Array.from({ length: 6 }, () => chain[0] ?? Buffer.alloc(0))), 'malformed');
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

test('an SVID lives no longer than its issuer', () => {
  const svid = east.issue(PAYMENTS, { ttlMs: 1_000 * HOUR_MS });
  assert.ok(svid.expiresAtMs <= NOW_MS + 24 * HOUR_MS + 1_000);
  assert.throws(() => east.issue(PAYMENTS, { nowMs: NOW_MS + 25 * HOUR_MS }), { code: 'PKI_ISSUER_EXPIRED' });
});

function leafUnder(issuer: Issuer): Buffer[] {
  const key = generateKey();
  return [signSvid({ issuer, publicKey: createPublicKey(key), spiffeId: PAYMENTS, nowMs: NOW_MS, ttlMs: HOUR_MS }), issuer.cert];
}

/** A certificate with whatever flaw the test wants. */
function certify(c: { readonly issuer: Issuer; readonly key: ReturnType<typeof generateKey>; readonly id: string; readonly ids?: readonly string[]; readonly ca?: boolean; readonly keyUsage?: number; readonly critical?: string }): Buffer {
  const model = signIntermediate({ issuer: c.issuer, publicKey: createPublicKey(c.key), trustDomain: 'x' as TrustDomain, nowMs: NOW_MS, ttlMs: HOUR_MS });
  const issuerName = nameOf(model);
  const ids = c.ids ?? [c.id];
  const usage = c.keyUsage ?? (c.ca === true ? 0x06 : 0x80);
  const tbs = seq(
    tagged(0, [smallInt(2)]), int(Buffer.from([0x40, 1, 2])), signatureAlgorithm(c.issuer.key), issuerName,
    seq(time(NOW_MS - 60_000), time(NOW_MS + HOUR_MS)), name({ commonName: 'flawed' }), spki(createPublicKey(c.key)),
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

/** What `openssl verify` says of a chain under east's root. */
function openssl(svid: X509Svid): string {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-pki-'));
  const file = (fileName: string, der: Buffer | undefined): string => {
    const path = join(directory, fileName);
    writeFileSync(path, toPem(der ?? Buffer.alloc(0)));
    return path;
  };
  const args = ['verify', '-x509_strict', '-CAfile', file('root.pem', east.root.cert), '-untrusted', file('ca.pem', svid.chain[1]), file('leaf.pem', svid.chain[0])];
  try {
    return execFileSync('openssl', args, { stdio: 'pipe' }).toString().trim().split(' ').at(-1) ?? '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** How a node TLS client that trusts east's root takes a server with that SVID. */
async function handshake(svid: X509Svid): Promise<string> {
  const { certPem, keyPem } = svidToPem(svid);
  const server = createServer({ cert: certPem, key: keyPem });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await new Promise((resolve) => {
      const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ca: toPem(east.root.cert), checkServerIdentity: () => undefined, servername: 'x.example' }, () => {
        resolve('authorized');
        socket.destroy();
      });
      socket.once('error', (error) => resolve(error.message));
    });
  } finally {
    server.close();
  }
}

test('a chain and a key that do not belong together are refused', () => {
  assert.throws(() => makeX509Svid(east.issue(PAYMENTS).chain, generateKey()), { code: 'PKI_CERTIFICATE_INVALID' });
});
