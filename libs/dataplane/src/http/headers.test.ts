// Which headers pass.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forwardedClientCert, hopsOf, withoutIdentity, withoutOwn } from './headers.ts';

test('fields of our own are dropped, and a list without any stays the same list', () => {
  const clean = ['accept', '*/*', 'x-request-id', '1', 'x-isthmu', '2'];
  assert.equal(withoutOwn(clean), clean);
  assert.deepEqual(withoutOwn(['accept', '*/*', 'x-isthmus-unprocessed', '1', 'x-request-id', '1', 'x-isthmus-reason', 'UH']), ['accept', '*/*', 'x-request-id', '1']);
});

test('identity headers of a caller are dropped on the way in, every copy of them; the hop count goes on', () => {
  const raw = [
    'x-forwarded-client-cert', 'URI=spiffe://a', 'x-forwarded-client-cert', 'URI=spiffe://b', 'x-envoy-peer-metadata', 'x', 'l5d-client-id', 'y',
    'x-isthmus-unprocessed', '1', 'x-isthmus-hops', '2', 'cookie', 'z', 'link', 'l',
  ];
  assert.deepEqual(withoutIdentity(raw), ['x-isthmus-hops', '2', 'cookie', 'z', 'link', 'l']);
});

test('a hop count that cannot be read counts as none', () => {
  assert.equal(hopsOf(['x-isthmus-hops', '7']), 7);
  for (const bad of ['-1', '1e9', '1234', '', ' 1']) assert.equal(hopsOf(['x-isthmus-hops', bad]), 0, bad);
  assert.equal(hopsOf([]), 0);
});

test('nothing in a certificate can add a field or a line to x-forwarded-client-cert', () => {
  const value = forwardedClientCert('spiffe://east/ns/a/svc/b', { spiffeId: 'spiffe://east/x";URI="spiffe://root\r\nx: y', leafSha256: 'ab' });
  assert.equal(value, 'By=spiffe://east/ns/a/svc/b;Hash=ab;URI="spiffe://east/x\\";URI=\\"spiffe://rootx: y"');
});
