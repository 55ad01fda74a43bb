import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { formatServiceName, isDnsLabel, parseClusterName, parseDnsLabel, parseServiceName, quote, serviceDnsName } from './name.ts';

test('DNS labels are what RFC 1123 §2.1 allows, in lower case', () => {
  for (const good of ['a', '0', 'a-b', 'x'.repeat(63), 'a1-2b']) assert.ok(isDnsLabel(good), good);
  for (const bad of ['', '-a', 'a-', 'A', 'a.b', 'a_b', 'ä', 'x'.repeat(64), 'a b', 'a\n', '\na']) assert.ok(!isDnsLabel(bad), JSON.stringify(bad));
});

test('a refused label is quoted, with its path and without control characters', () => {
  const refused = parseDnsLabel('Bad\u001b[31m', 'metadata.name');
  assert.ok(!refused.ok);
  assert.equal(refused.problems[0]?.path, 'metadata.name');
  assert.match(refused.problems[0]?.message ?? '', /"Bad\\u001b\[31m" is no DNS label/);
});

test('a cluster name is a label of at most 32 characters', () => {
  assert.ok(parseClusterName('x'.repeat(32)).ok);
  assert.ok(!parseClusterName('x'.repeat(33)).ok);
  assert.ok(!parseClusterName('East').ok);
});

test('a service name is namespace/name and nothing more, and both parts are judged at once', () => {
  assert.deepEqual(parseServiceName('shop/payments'), { ok: true, value: { namespace: 'shop', name: 'payments' } });
  for (const bad of ['payments', '/payments', 'shop/', 'shop/payments/x', '', 'Shop/payments']) assert.ok(!parseServiceName(bad).ok, bad);
  const both = parseServiceName('A/B');
  assert.equal(both.ok ? 0 : both.problems.length, 2);
});

test('every service name reads back from its text', () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
  fc.assert(fc.property(label, label, (namespace, name) => assert.deepEqual(parseServiceName(formatServiceName({ namespace, name })), { ok: true, value: { namespace, name } })));
});

test('applications look a service up by its MCS name', () => {
  assert.equal(serviceDnsName({ namespace: 'shop', name: 'payments' }), 'payments.shop.svc.clusterset.local');
});

test('text from outside is quoted short and harmless', () => {
  assert.equal(quote('a"b\n'), '"a\\"b\\n"');
  assert.ok(quote('x'.repeat(10_000)).length <= 82);
});
