import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { IsthmusError, type SpiffeId, spiffeIds } from '@isthmus/model';
import { generateKey, holderTag, openBundleSet, signSvid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { judgeCaller, judgeServer, refusalNow } from './judge.ts';

const ID = 'spiffe://east.acme.example/ns/shop/svc/web' as SpiffeId;
const east = testAuthority({ federation: 'acme.example', cluster: 'east' });
const nowMs = Date.now();
const reason = (fn: () => unknown): unknown => {
  try {
    fn();
    return 'accepted';
  } catch (error) {
    return error instanceof IsthmusError ? error.facts['reason'] : error;
  }
};

test('a chain found good is found good again, with the same words about its holder', () => {
  const bundles = openBundleSet([east.bundle]);
  const { chain } = east.issue(ID);
  const first = judgeCaller(chain, bundles, nowMs);
  assert.deepEqual(judgeCaller(chain.map((der) => Buffer.from(der)), bundles, nowMs), first);
  assert.equal(first.spiffeId, ID);
});

test('what was good is not good any more once it has run out, its bundle is gone or another one stands in its place', () => {
  const bundles = openBundleSet([east.bundle]);
  const { chain, expiresAtMs } = east.issue(ID, { ttlMs: 600_000 });
  assert.equal(reason(() => judgeCaller(chain, bundles, nowMs)), 'accepted');
  assert.equal(reason(() => judgeCaller(chain, bundles, expiresAtMs + 120_000)), 'expired');
  const other = testAuthority({ federation: 'acme.example', cluster: 'east' });
  bundles.update({ ...other.bundle, sequence: 2 });
  assert.equal(reason(() => judgeCaller(chain, bundles, nowMs)), 'untrusted');
  bundles.remove('east.acme.example');
  assert.equal(reason(() => judgeCaller(chain, bundles, nowMs)), 'no-bundle');
});

test('a leaf that was good is refused under other intermediates, and as another server than expected', () => {
  const bundles = openBundleSet([east.bundle]);
  const svid = east.issue(ID);
  assert.equal(reason(() => judgeCaller(svid.chain, bundles, nowMs)), 'accepted');
  assert.notEqual(reason(() => judgeCaller(svid.chain.slice(0, 1), bundles, nowMs)), 'accepted');
  const expected = { expectedId: 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId, trustDomain: east.trustDomain, host: 'h', port: 1 };
  assert.equal(reason(() => judgeServer(svid.chain, expected, bundles, nowMs)), 'wrong-id');
  assert.equal(reason(() => judgeServer(svid.chain, { ...expected, expectedId: ID }, bundles, nowMs)), 'accepted');
});

test('row 48: who is banned is refused at the handshake at either end, and what it has open is to be closed; others and what is issued later are not', () => {
  const bundles = openBundleSet([east.bundle]);
  const { chain } = east.issue(ID);
  const peer = judgeCaller(chain, bundles, nowMs);
  const expected = { expectedId: ID, trustDomain: east.trustDomain, host: 'h', port: 1 };
  bundles.ban('east.acme.example', [{ spiffeId: ID, issuedBeforeMs: Date.now() + 1_000, expiresAtMs: nowMs + 3_600_000 }]);
  assert.equal(reason(() => judgeCaller(chain, bundles, nowMs)), 'banned');
  assert.equal(reason(() => judgeServer(chain, expected, bundles, nowMs)), 'banned');
  assert.equal(refusalNow(peer, bundles, nowMs), 'banned');
  const other = east.issue('spiffe://east.acme.example/ns/shop/svc/cart' as SpiffeId);
  assert.equal(reason(() => judgeCaller(other.chain, bundles, nowMs)), 'accepted');
  bundles.ban('east.acme.example', []);
  assert.equal(reason(() => judgeCaller(chain, bundles, nowMs)), 'accepted');
});

test('row 48: of two gateways of one ID the banned one is refused, the other is not', () => {
  const bundles = openBundleSet([east.bundle]);
  const id = spiffeIds.gateway(east.trustDomain);
  const [bad, good] = ['gw-1', 'gw-2'].map((name) => {
    const leaf = signSvid({ issuer: east.intermediate, publicKey: createPublicKey(generateKey()), spiffeId: id, holder: spiffeIds.gatewayHolder(east.trustDomain, name), nowMs, ttlMs: 600_000 });
    return [leaf, east.intermediate.cert];
  }) as [Buffer[], Buffer[]];
  const holder = spiffeIds.gatewayHolder(east.trustDomain, 'gw-1');
  bundles.ban('east.acme.example', [{ spiffeId: holder, holder: holderTag(holder), issuedBeforeMs: nowMs + 1_000, expiresAtMs: nowMs + 3_600_000 }]);
  assert.equal(reason(() => judgeCaller(bad, bundles, nowMs)), 'banned');
  assert.equal(reason(() => judgeCaller(good, bundles, nowMs)), 'accepted');
});

test('a fenced cluster: an empty bundle refuses everybody of it, and what is open is to be closed', () => {
  const bundles = openBundleSet([east.bundle]);
  const { chain } = east.issue(ID);
  const peer = judgeCaller(chain, bundles, nowMs);
  bundles.update({ ...east.bundle, sequence: east.bundle.sequence + 1, x509Authorities: [] });
  assert.equal(reason(() => judgeCaller(chain, bundles, nowMs)), 'untrusted');
  assert.equal(refusalNow(peer, bundles, nowMs), 'untrusted');
});
