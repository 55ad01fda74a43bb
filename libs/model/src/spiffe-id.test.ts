import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { clusterTrustDomain, parseSpiffeId, parseTrustDomain, pathOf, roleOf, type SpiffeId, spiffeIds, type TrustDomain, trustDomainOf } from './spiffe-id.ts';

const EAST = 'east.acme.example' as TrustDomain;

test('SPIFFE IDs of the standard are taken', () => {
  for (const id of [
    'spiffe://acme.example',
    'spiffe://acme.example/ns/shop/svc/payments',
    'spiffe://a_b-c.1/x/Y/._-~'.replace('~', ''),
    `spiffe://${'d'.repeat(255)}/a`,
    'spiffe://acme.example/a..b/...',
  ]) {
    assert.ok(parseSpiffeId(id).ok, id);
  }
});

/** SPIFFE-ID §2: each row is a form the standard forbids. */
const REFUSED: readonly (readonly [id: string, clause: string])[] = [
  ['', '2 no scheme'],
  ['acme.example/a', '2 no scheme'],
  ['https://acme.example/a', '2 other scheme'],
  ['SPIFFE://acme.example/a', '2 scheme in upper case'],
  ['spiffe:///a', '2.1 empty trust domain'],
  ['spiffe://Acme.example/a', '2.1 upper case trust domain'],
  ['spiffe://acme.example:8080/a', '2.1 port'],
  ['spiffe://user@acme.example/a', '2.1 user'],
  ['spiffe://acme%2eexample/a', '2.1 percent-encoding in the trust domain'],
  ['spiffe://äcme.example/a', '2.1 not ASCII'],
  [`spiffe://${'d'.repeat(256)}/a`, '2.3 trust domain over 255'],
  ['spiffe://acme.example/', '2.2 trailing slash'],
  ['spiffe://acme.example/a/', '2.2 trailing slash'],
  ['spiffe://acme.example//a', '2.2 empty segment'],
  ['spiffe://acme.example/a/./b', '2.2 dot segment'],
  ['spiffe://acme.example/a/../b', '2.2 dot-dot segment'],
  ['spiffe://acme.example/a%2fb', '2.2 percent-encoding'],
  ['spiffe://acme.example/a?b', '2 query'],
  ['spiffe://acme.example/a#b', '2 fragment'],
  ['spiffe://acme.example/a b', '2.2 space'],
  ['spiffe://acme.example/a\n', '2.2 control character'],
  ['spiffe://acme.example\n', '2.1 control character'],
  [`spiffe://acme.example/${'a'.repeat(2_048)}`, '2.3 over 2048 bytes'],
];
for (const [id, clause] of REFUSED) test(`refused by SPIFFE-ID ${clause}`, () => assert.ok(!parseSpiffeId(id).ok));

test('a trust domain and a path put together come apart the same', () => {
  const domain = fc.stringMatching(/^[a-z0-9._-]{1,60}$/);
  const segments = fc.array(fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,10}$/), { maxLength: 6 });
  fc.assert(
    fc.property(domain, segments, (td, path) => {
      const id = parseSpiffeId(['spiffe:/', td, ...path].join('/'));
      assert.ok(id.ok);
      assert.equal(trustDomainOf(id.value), td);
      assert.equal(pathOf(id.value), path.map((s) => `/${s}`).join(''));
    }),
  );
});

test('whatever text comes, parsing never throws', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void [parseSpiffeId(text), parseSpiffeId(`spiffe://${text}`), parseTrustDomain(text)]));
});

test('each identity Isthmus mints is valid and reads back as its role', () => {
  const roles = [
    [spiffeIds.authority(EAST), { kind: 'authority' }],
    [spiffeIds.trustRoot(EAST), { kind: 'trust-root' }],
    [spiffeIds.controlPlane(EAST), { kind: 'control-plane' }],
    [spiffeIds.gateway(EAST), { kind: 'gateway' }],
    [spiffeIds.agent(EAST, 'vm-1'), { kind: 'agent', agent: 'vm-1' }],
    [spiffeIds.service(EAST, { namespace: 'shop', name: 'payments' }), { kind: 'service', service: { namespace: 'shop', name: 'payments' } }],
  ] as const;
  for (const [id, role] of roles) {
    assert.ok(parseSpiffeId(id).ok, id);
    assert.equal(trustDomainOf(id), EAST);
    assert.deepEqual(roleOf(id), role);
  }
});

test('a path that is nearly a role is none', () => {
  for (const path of ['/agent', '/agent/a/b', '/gateway/x', '/ns/shop/svc', '/ns/shop/sa/x', '/ns/shop/svc/a/b', '/Control-plane']) {
    assert.deepEqual(roleOf(`spiffe://${EAST}${path}` as SpiffeId), { kind: 'other' }, path);
  }
});

test('a cluster’s trust domain is its name below the federation’s', () => {
  assert.equal(clusterTrustDomain('east', 'acme.example'), EAST);
});
