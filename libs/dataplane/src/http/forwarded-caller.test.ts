import assert from 'node:assert/strict';
import test from 'node:test';
import type { Peer } from '../tls/judge.ts';
import { CALLER_HEADER, forwardedCaller, readForwardedCaller } from './forwarded-caller.ts';

const HASH = 'ab'.repeat(32);
const ID = 'spiffe://west.demo/ns/shop/svc/cart';
const gateway = { spiffeId: 'spiffe://east.demo/gateway', trustDomain: 'east.demo', leafSha256: HASH, expiresAtMs: 9, chain: [] } as unknown as Peer;

test('what a gateway writes is read back as the same caller', () => {
  const value = forwardedCaller({ spiffeId: ID as Peer['spiffeId'], leafSha256: HASH });
  const peer = readForwardedCaller(['host', 'x', CALLER_HEADER, value], gateway);
  assert.equal(peer?.spiffeId, ID);
  assert.equal(peer?.trustDomain, 'west.demo');
  assert.equal(peer?.leafSha256, HASH);
});

for (const [what, headers] of [
  ['no field', []],
  ['the field twice', [CALLER_HEADER, `${ID};hash=${HASH}`, CALLER_HEADER, `${ID};hash=${HASH}`]],
  ['two callers in one', [CALLER_HEADER, `${ID};hash=${HASH},${ID};hash=${HASH}`]],
  ['no hash', [CALLER_HEADER, ID]],
  ['a short hash', [CALLER_HEADER, `${ID};hash=ab`]],
  ['an ID without a path', [CALLER_HEADER, `spiffe://west.demo;hash=${HASH}`]],
  ['another scheme', [CALLER_HEADER, `https://west.demo/ns/a/svc/b;hash=${HASH}`]],
  ['percent-encoding', [CALLER_HEADER, `spiffe://west.demo/ns/%61/svc/b;hash=${HASH}`]],
  ['something behind it', [CALLER_HEADER, `${ID};hash=${HASH};admin=yes`]],
] as const) {
  test(`${what}: no caller`, () => assert.equal(readForwardedCaller(headers, gateway), undefined));
}
