import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile, type Engine } from '@isthmus/decide';
import { type Endpoint, resourceName, type TrustDomain } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { type Destination, type DestinationRules, destinationOf } from './destination.ts';

const NAME = 'http.payments.shop.svc.east.acme.example';
const at = (id: string, over: Partial<Endpoint> = {}): Endpoint => anEndpoint({ id, host: '192.0.2.1', ports: { http: 9_000 }, ...over });

function engineOf(...endpoints: Endpoint[]): Engine {
  const views = [aServiceView({ endpoints }), aServiceView({ name: 'vault', exported: false, endpoints })];
  return compile({ version: 1, resources: new Map(views.map((v) => [resourceName(v), v])) });
}

function rules(over: Partial<DestinationRules> = {}): DestinationRules {
  return { trustDomain: 'east.acme.example' as TrustDomain, reserved: {}, layer7: '127.0.0.1:4443', sendProxyHeader: false, random: () => 0, unavailable: () => false, isFull: () => false, ...over };
}

function found(engine: Engine, name: string, over: Partial<DestinationRules> = {}): Destination {
  const destination = destinationOf(engine, name, rules(over));
  assert.ok(destination.kind === 'found');
  return destination;
}

/** The ids of all targets in the order they would be tried. */
function order(destination: Destination): readonly string[] {
  const tried = new Set<string>();
  for (let target = destination.pick(tried); target !== undefined; target = destination.pick(tried)) tried.add(target.id);
  return [...tried];
}

test('an exported name leads to its endpoints, each once', () => {
  const destination = found(engineOf(at('a'), at('b')), NAME);
  assert.equal(destination.service, 'shop/payments');
  assert.deepEqual(destination.pick(new Set()), { id: 'a', host: '192.0.2.1', port: 9_000, takesProxyHeader: false, key: 'a 192.0.2.1 9000' });
  assert.deepEqual(order(destination), ['a', 'b']);
});

for (const [name, reason] of [
  ['http.vault.shop.svc.east.acme.example', 'not-exported'],
  ['http.other.shop.svc.east.acme.example', 'unknown-name'],
  ['grpc.payments.shop.svc.east.acme.example', 'unknown-name'],
  ['http.payments.shop.svc.west.acme.example', 'not-ours'],
  ['store.isthmus.east.acme.example', 'unknown-name'],
  ['example.org', 'unknown-name'],
] as const) {
  test(`${name} is refused as ${reason}`, () => assert.deepEqual(destinationOf(engineOf(at('a')), name, rules()), { kind: 'refused', reason }));
}

test('a service whose endpoints are all unhealthy is refused as no-endpoint', () => {
  assert.deepEqual(destinationOf(engineOf(at('a', { health: 'unhealthy' })), NAME, rules()), { kind: 'refused', reason: 'no-endpoint' });
});

test('endpoints behind another gateway or of another trust domain are never among the targets (row 74)', () => {
  const away = [at('gateway', { viaGateway: true }), at('west', { trustDomain: 'west.acme.example' })];
  assert.deepEqual(order(found(engineOf(at('a'), ...away), NAME)), ['a']);
});

test('ejected endpoints come last, and are tried when no other is left', () => {
  assert.deepEqual(order(found(engineOf(at('a'), at('b')), NAME, { unavailable: (id) => id === 'a' })), ['b', 'a']);
});

test('full endpoints are never tried, ejected or not; with all of them full there is no target at all', () => {
  assert.deepEqual(order(found(engineOf(at('a'), at('b')), NAME, { isFull: (service, id) => service === 'shop/payments' && id === 'a', unavailable: () => true })), ['b']);
  assert.equal(found(engineOf(at('a')), NAME, { isFull: () => true }).pick(new Set()), undefined);
});

test('a reserved name leads to its address alone, IPv6 without brackets, and takes no PROXY header', () => {
  const reserved = { store: '[2001:db8::1]:2379', 'control-plane': 'cp.example:8443' };
  const store = found(engineOf(), 'store.isthmus.east.acme.example', { reserved, sendProxyHeader: true });
  assert.equal(store.service, 'store');
  assert.deepEqual(store.pick(new Set()), { id: 'store', host: '2001:db8::1', port: 2_379, takesProxyHeader: false, key: 'store 2001:db8::1 2379' });
  assert.deepEqual(order(store), ['store']);
  assert.equal(found(engineOf(), 'control-plane.isthmus.east.acme.example', { reserved }).pick(new Set())?.host, 'cp.example');
});

test('endpoints take a PROXY header where it is configured', () => {
  assert.equal(found(engineOf(at('a')), NAME, { sendProxyHeader: true }).pick(new Set())?.takesProxyHeader, true);
});

test('a service that asks for layer 7 leads by the name that says so to this process itself, and by its other name to its endpoints', () => {
  const asking = [aServiceView({ endpoints: [at('a')], gatewayLayer: 7 })];
  const engine = compile({ version: 1, resources: new Map(asking.map((v) => [resourceName(v), v])) });
  const name = NAME.replace('.svc.', '.l7.');
  const destination = found(engine, name);
  assert.deepEqual(destination.pick(new Set()), { id: 'layer7', host: '127.0.0.1', port: 4443, takesProxyHeader: false, key: 'layer7' });
  assert.equal(destination.service, 'shop/payments');
  assert.deepEqual(order(destination), ['layer7']);
  assert.deepEqual(order(found(engine, NAME)), ['a']);
  assert.deepEqual(destinationOf(engine, name, rules({ layer7: undefined })), { kind: 'refused', reason: 'unknown-name' });
  assert.deepEqual(destinationOf(engineOf(at('a')), name, rules()), { kind: 'refused', reason: 'unknown-name' }, 'it does not ask');
  const tcp = [aServiceView({ endpoints: [at('a')], gatewayLayer: 7, ports: [{ name: 'http', port: 80, protocol: 'tcp' }] })];
  assert.deepEqual(destinationOf(compile({ version: 1, resources: new Map(tcp.map((v) => [resourceName(v), v])) }), name, rules()), { kind: 'refused', reason: 'unknown-name' });
});
