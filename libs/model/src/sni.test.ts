import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseSni, reservedSni, serviceSni } from './sni.ts';
import type { TrustDomain } from './spiffe-id.ts';

const EAST = 'east.acme.example' as TrustDomain;
const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);

test('every service, port and trust domain reads back from its SNI name', () => {
  fc.assert(
    fc.property(label, label, label, fc.array(label, { minLength: 1, maxLength: 4 }), fc.constantFrom(4 as const, 7 as const), (port, name, namespace, domain, layer) => {
      const trustDomain = domain.join('.');
      const sni = serviceSni({ namespace, name }, port, trustDomain as TrustDomain, layer);
      fc.pre(name !== 'isthmus' && sni.length <= 255);
      assert.deepEqual(parseSni(sni), { kind: 'service', service: { namespace, name }, port, trustDomain, layer });
    }),
  );
});

test('the federation’s own names read back, and only they are reserved', () => {
  for (const name of ['control-plane', 'store', 'trust-root', 'bundle', 'admin'] as const) {
    assert.deepEqual(parseSni(reservedSni(name, EAST)), { kind: 'reserved', name, trustDomain: EAST });
  }
  assert.equal(parseSni(`nobody.isthmus.${EAST}`), undefined);
  assert.equal(parseSni('store.isthmus'), undefined);
});

test('a service that is called isthmus is not taken for a reserved name', () => {
  assert.deepEqual(parseSni(serviceSni({ namespace: 'shop', name: 'isthmus' }, 'http', EAST)), { kind: 'service', service: { namespace: 'shop', name: 'isthmus' }, port: 'http', trustDomain: EAST, layer: 4 });
});

test('server names are compared without case (RFC 6066 §3)', () => {
  assert.deepEqual(parseSni('HTTP.Payments.Shop.SVC.East.Acme.Example'), parseSni('http.payments.shop.svc.east.acme.example'));
});

test('anything that is not exactly one of the two forms is nothing', () => {
  for (const name of ['', '.', 'payments', 'payments.shop.svc', 'http.payments.shop.svc', 'http.payments.shop.svc.east.acme.example.'.replace('http', ''), '-.payments.shop.svc.east', 'http.pay_ments.shop.svc.east', 'http.payments.shop.pod.east.acme.example', `${'a.'.repeat(130)}svc.x`]) {
    assert.equal(parseSni(name), undefined, name);
  }
});

test('a trailing dot is not part of an SNI name and is not accepted', () => {
  assert.equal(parseSni('http.payments.shop.svc.east.acme.example.'), undefined);
  assert.equal(parseSni(`store.isthmus.${EAST}.`), undefined);
});

test('an SNI whose trust domain has empty labels is nothing', () => {
  assert.equal(parseSni('http.payments.shop.svc.east..example'), undefined);
  assert.equal(parseSni('store.isthmus..'), undefined);
});

test('whatever text comes, reading it never throws', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => void parseSni(text)));
});
