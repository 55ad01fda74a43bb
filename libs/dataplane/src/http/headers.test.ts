// Which headers pass.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endToEnd, forwardedClientCert, originForm, withoutIdentity } from './headers.ts';

test('hop-by-hop headers end here, whatever their case', () => {
  const raw = ['Host', 'a', 'Connection', 'close', 'KEEP-ALIVE', 'x', 'Transfer-Encoding', 'chunked', 'TE', 'trailers', 'Upgrade', 'h2c', 'Accept', '*/*'];
  assert.deepEqual(endToEnd(raw), ['Host', 'a', 'Accept', '*/*']);
});

test('headers named by Connection end here too, but never Host and Content-Length', () => {
  const raw = ['Host', 'a', 'Connection', 'x-one, Host', 'connection', 'X-Two, content-length', 'X-One', '1', 'x-two', '2', 'Content-Length', '3', 'X-Three', '3'];
  assert.deepEqual(endToEnd(raw), ['Host', 'a', 'Content-Length', '3', 'X-Three', '3']);
});

test('identity headers of a caller are dropped on the way in, every copy of them', () => {
  const raw = ['X-Forwarded-Client-Cert', 'URI=spiffe://a', 'x-forwarded-client-cert', 'URI=spiffe://b', 'X-Envoy-Peer-Metadata', 'x', 'L5d-Client-Id', 'y', 'Cookie', 'z'];
  assert.deepEqual(withoutIdentity(raw), ['Cookie', 'z']);
});

test('nothing in a certificate can add a field or a line to x-forwarded-client-cert', () => {
  const value = forwardedClientCert('spiffe://east/ns/a/svc/b', { spiffeId: 'spiffe://east/x";URI="spiffe://root\r\nx: y', leafSha256: 'ab' });
  assert.equal(value, 'By=spiffe://east/ns/a/svc/b;Hash=ab;URI="spiffe://east/x\\";URI=\\"spiffe://rootx: y"');
});

test('request targets: origin form, absolute form, and those that name no path', () => {
  const rows: readonly [string, string | undefined][] = [
    ['/a?b', '/a?b'],
    ['http://host/a?b', '/a?b'],
    ['HTTP://host', '/'],
    ['http://host?q=1', '/?q=1'],
    ['*', undefined],
    ['host:443', undefined],
  ];
  for (const [target, want] of rows) assert.equal(originForm(target), want, target);
});
