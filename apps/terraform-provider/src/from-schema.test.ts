import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RESOURCES } from '@isthmus/api';
import { exportSchema, federatedTrustDomainSchema, serviceSchema } from '@isthmus/model';
import { attributesOf, fromDocument, knownProblems, snakePath, toDocument } from './from-schema.ts';
import { UNKNOWN, type ValueObject } from './protocol/value.ts';

const EXPORT = { kind: 'export', namespace: 'shop', name: 'payments', consumers: ['west'], foreignCallers: [{ trustDomain: 'partner.example', spiffeIds: ['spiffe://partner.example/a'] }], gateway: { layer: 7 } };

test('a document goes into attributes and back unchanged, for every form a schema has', () => {
  for (const [schema, document] of [
    [exportSchema, EXPORT],
    [exportSchema, { kind: 'export', namespace: 'shop', name: 'payments', consumers: 'all' }],
    [serviceSchema, { kind: 'service', namespace: 'shop', name: 'payments', ports: [{ name: 'http', port: 80, protocol: 'http' }], labels: { teamName: 'a', B: 'c' } }],
    [federatedTrustDomainSchema, { kind: 'federated-trust-domain', trustDomain: 'partner.example', source: { profile: 'https_web', url: 'https://partner.example/', caPem: 'x' } }],
    [federatedTrustDomainSchema, { kind: 'federated-trust-domain', trustDomain: 'partner.example', source: { profile: 'file' } }],
  ] as const) assert.deepEqual(toDocument(schema, fromDocument(schema, document)), document);
});

test('attributes have the names, types and duties of the schema’s fields', () => {
  const { kind, consumers, foreign_callers: callers, gateway, namespace } = attributesOf(exportSchema, { replaces: ['namespace'] });
  assert.equal(kind, undefined);
  assert.deepEqual([consumers?.type, consumers?.mode], [{ kind: 'set', element: { kind: 'string' } }, 'required']);
  assert.deepEqual([callers?.type.kind, callers?.mode], ['list', 'optional']);
  assert.equal(gateway?.type.kind, 'object');
  assert.equal(namespace?.replaces, true);
  const source = attributesOf(federatedTrustDomainSchema)['source']?.type;
  assert.ok(source?.kind === 'object');
  assert.deepEqual(Object.entries(source.attributes).map(([name, a]) => [name, a.mode]), [['profile', 'required'], ['url', 'optional'], ['spiffe_id', 'optional'], ['ca_pem', 'optional']]);
});

test('every attribute that is made of a schema says what it is for', () => {
  const silent = (attributes: ReturnType<typeof attributesOf>, at: string): string[] =>
    Object.entries(attributes).flatMap(([name, { description, type }]) => {
      const inner = type.kind === 'object' ? type : 'element' in type && type.element.kind === 'object' ? type.element : undefined;
      return [...(description.length < 10 ? [`${at}.${name}`] : []), ...(inner?.kind === 'object' ? silent(inner.attributes, `${at}.${name}`) : [])];
    });
  assert.deepEqual(RESOURCES.filter((r) => r.verbs.put !== undefined).flatMap((r) => silent(attributesOf(r.document), r.kind)), []);
});

const BASE: ValueObject = { namespace: 'shop', name: 'payments', ports: [{ name: 'http', port: 80, protocol: 'http' }], labels: null };
for (const [name, value, problems] of [
  ['nothing wrong', BASE, []],
  ['a wrong value beside one not known yet', { ...BASE, name: UNKNOWN, namespace: 'Shop' }, ['namespace']],
  ['a wrong value in a list with one not known yet', { ...BASE, ports: [{ name: UNKNOWN, port: 0, protocol: 'http' }, { name: 'b', port: 1, protocol: 'smtp' }] }, ['ports[0].port', 'ports[1].protocol']],
  ['nothing where all is unknown', { ...BASE, ports: UNKNOWN, name: UNKNOWN }, []],
] as const) {
  test(`what is known is checked: ${name}`, () => {
    assert.deepEqual(knownProblems(serviceSchema, value).map((p) => p.path), problems);
  });
}

test('paths of documents are those of attributes', () => {
  assert.equal(snakePath('foreignCallers[0].spiffeIds[12]'), 'foreign_callers[0].spiffe_ids[12]');
});
