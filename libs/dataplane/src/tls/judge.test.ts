import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsthmusError, type SpiffeId } from '@isthmus/model';
import { openBundleSet } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { judgeCaller, judgeServer } from './judge.ts';

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
