// Documents for `apply -f`: what is right is read, and everything wrong is named by file and line, at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { parseDocuments } from './documents.ts';

const GOOD = `kind: service
namespace: shop
name: payments
ports:
  - { name: http, port: 80, protocol: http }
---
kind: export
namespace: shop
name: payments
consumers: all
`;

function problemsOf(text: string): string {
  try {
    parseDocuments(text, 'x.yaml');
  } catch (error) {
    if (error instanceof IsthmusError && error.code === 'CLI_BAD_DOCUMENT') return error.message;
    throw error;
  }
  return '';
}

test('services and exports are read from YAML and from JSON, many to a file', () => {
  assert.deepEqual(parseDocuments(GOOD, 'x.yaml').map((d) => d.kind), ['service', 'export']);
  const json = JSON.stringify({ kind: 'export', namespace: 'shop', name: 'payments', consumers: ['west'] });
  assert.deepEqual(parseDocuments(json, 'x.json')[0], JSON.parse(json));
  assert.equal(parseDocuments(`---\n${GOOD}---\n`, 'x.yaml').length, 2);
});

test('malformed YAML is named by its line', () => {
  assert.match(problemsOf('kind: service\nnamespace: [shop\nname: x\n'), /^x\.yaml:\d: /);
  assert.match(problemsOf('kind: service\nkind: export\n'), /^x\.yaml:2: .*unique/i);
});

test('an unknown field is refused and named by its own line', () => {
  assert.match(problemsOf(GOOD.replace('name: payments\n', 'name: payments\nreplicas: 3\n')), /^x\.yaml:4: unknown field "replicas"/);
});

test('a typo is one line that says what was meant, where that is missing', () => {
  assert.equal(problemsOf(GOOD.replace('protocol:', 'protcol:')), 'x.yaml:5: ports[0]: unknown field "protcol" (did you mean protocol?)');
  assert.match(problemsOf(GOOD.replace('protocol:', 'colour:')), /required propert.* protocol\n.*unknown field "colour"$/);
});

test('a name that is no DNS label is refused where it stands', () => {
  assert.match(problemsOf(GOOD.replace('name: payments', 'name: Payments_1')), /^x\.yaml:3: name: must be a DNS label/);
});

test('an unknown kind and a missing one are refused', () => {
  assert.match(problemsOf('kind: workload\nname: x\n'), /^x\.yaml:1: kind: "workload" is unknown here \(want service, export, federated-trust-domain or drain\)/);
  assert.match(problemsOf('name: x\n'), /kind: is missing/);
  assert.match(problemsOf('kind: constructor\n'), /kind: "constructor" is unknown/);
});

test('all problems of all documents are told together', () => {
  const text = problemsOf(`${GOOD.replace('port: 80', 'port: 99999')}---\nkind: nothing\n`);
  assert.match(text, /x\.yaml:5: ports\[0\]\.port/);
  assert.match(text, /x\.yaml:\d+: kind: "nothing"/);
});

test('a file without a document is an error, not nothing done', () => {
  assert.match(problemsOf('# only a comment\n'), /holds no document/);
});

test('aliases cannot blow a document up', () => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`;
  assert.notEqual(problemsOf(bomb), '');
});
