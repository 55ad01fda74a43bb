import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExport, parseService, valueOf } from '@isthmus/model';
import { declareExport, declareService, protocolOf } from './declare.ts';
import { parseKubeService, parseKubeServiceExport } from './objects.ts';
import { aKubeService, type ApiObject, aServiceExport } from './scripted-api-server.ts';

const at = (object: ApiObject): object => ({ ...object, metadata: { ...object.metadata, resourceVersion: '1' } });
const service = (spec: object, name = 'payments') => declareService(valueOf(parseKubeService(at(aKubeService(name, { spec })))));
const exported = (metadata: object = {}) => declareExport(valueOf(parseKubeServiceExport(at(aServiceExport('payments', metadata)))));

const PROTOCOLS: readonly (readonly [string, string, string])[] = [
  ['web', 'http', 'http'],
  ['web', 'HTTP', 'http'],
  ['web', 'kubernetes.io/h2c', 'http2'],
  ['web', 'kubernetes.io/ws', 'http'],
  ['web', 'grpc', 'grpc'],
  ['web', 'https', 'tcp'],
  ['http', 'mongo', 'tcp'],
  ['http', '', 'http'],
  ['http-admin', '', 'http'],
  ['grpc-web', '', 'grpc'],
  ['http2', '', 'http2'],
  ['httpx', '', 'tcp'],
  ['metrics', '', 'tcp'],
  ['', '', 'tcp'],
];
for (const [name, appProtocol, protocol] of PROTOCOLS) {
  test(`a port named ${JSON.stringify(name)} with appProtocol ${JSON.stringify(appProtocol)} is ${protocol}`, () => assert.equal(protocolOf({ name, appProtocol }), protocol));
}

test('a Service becomes a service of the same name, with its TCP ports; what is left out is said', () => {
  const declared = service({ ports: [{ name: 'http', port: 80 }, { name: 'dns', port: 53, protocol: 'UDP' }, { name: 'db', port: 5432, protocol: 'TCP', appProtocol: 'postgresql' }] });
  assert.ok(declared.ok);
  assert.deepEqual(declared.value.ports, [{ name: 'http', port: 80, protocol: 'http' }, { name: 'db', port: 5432, protocol: 'tcp' }]);
  assert.deepEqual(declared.notes, ['port dns is UDP, and only TCP is carried']);
  assert.ok(parseService(declared.value).ok, 'what the model takes');
});

test('a port without a name is called default, and a headless Service is a service like any other', () => {
  const declared = service({ clusterIP: 'None', ports: [{ port: 9_000 }] });
  assert.ok(declared.ok);
  assert.deepEqual(declared.value.ports, [{ name: 'default', port: 9_000, protocol: 'tcp' }]);
});

for (const [what, spec, reason] of [
  ['an ExternalName', { type: 'ExternalName', ports: [] }, /ExternalName/],
  ['no ports', { ports: [] }, /no ports/],
  ['only UDP', { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] }, /no port that can be carried: port dns is UDP/],
  ['seventeen ports', { ports: Array.from({ length: 17 }, (_, i) => ({ name: `p${i}`, port: i + 1 })) }, /more than 16/],
] as const) {
  test(`a Service with ${what} is left out with the reason`, () => {
    const declared = service(spec);
    assert.ok(!declared.ok);
    assert.match(declared.reason, reason);
  });
}

test('a ServiceExport is to all, or to the clusters its annotation names', () => {
  for (const [annotations, consumers] of [
    [undefined, 'all'],
    [{ 'isthmus/consumers': 'all' }, 'all'],
    [{ 'isthmus/consumers': 'west, north,west' }, ['west', 'north']],
    [{ other: 'x' }, 'all'],
  ] as const) {
    const declared = exported({ annotations });
    assert.ok(declared.ok);
    assert.deepEqual(declared.value.consumers, consumers);
    assert.ok(parseExport(declared.value).ok);
  }
});

test('an annotation that cannot be read exports to nobody rather than to everybody', () => {
  for (const text of ['West', '', ' , ', 'west;north', 'a'.repeat(33)]) {
    const declared = exported({ annotations: { 'isthmus/consumers': text } });
    assert.ok(!declared.ok, JSON.stringify(text));
  }
  assert.ok(!parseKubeServiceExport(at(aServiceExport('payments', { annotations: { 'isthmus/consumers': 'x,'.repeat(5_000) } }))).ok);
});
