import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourceName, serviceSni, type ServiceView, type Snapshot, type TrustDomain } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { compile } from './engine.ts';

const EAST = 'east.acme.example' as TrustDomain;

function snapshotOf(...services: readonly ServiceView[]): Snapshot {
  return { version: 7, resources: new Map(services.map((s) => [resourceName(s), s])) };
}

const engine = compile(
  snapshotOf(aServiceView(), aServiceView({ name: 'vault', exported: false }), aServiceView({ name: 'dead', endpoints: [anEndpoint({ health: 'unhealthy' })] })),
);

test('an exported name leads to its endpoints', () => {
  const route = engine.route('http.payments.shop.svc.east.acme.example', EAST);
  assert.equal(route.kind, 'endpoints');
  assert.deepEqual(route.kind === 'endpoints' && route.tiers.flat().map((e) => e.id), ['east/a.payments-1']);
});

for (const [name, sni, reason] of [
  ['a service that is not exported', 'http.vault.shop.svc.east.acme.example', 'not-exported'],
  ['a service nobody knows', 'http.other.shop.svc.east.acme.example', 'unknown-name'],
  ['a port the service has not', 'admin.payments.shop.svc.east.acme.example', 'unknown-name'],
  ['another cluster’s service', 'http.payments.shop.svc.west.acme.example', 'not-ours'],
  ['another cluster’s control plane', 'control-plane.isthmus.west.acme.example', 'not-ours'],
  ['the trust root of another federation', 'trust-root.isthmus.other.example', 'not-ours'],
  ['a name of no form', 'payments', 'unknown-name'],
  ['an address', '10.0.0.1', 'unknown-name'],
  ['more labels than the form has', 'x.http.payments.shop.svc.east.acme.example', 'unknown-name'],
  ['a service whose endpoints are all down', 'http.dead.shop.svc.east.acme.example', 'no-endpoint'],
] as const) {
  test(`refuses ${name}`, () => assert.deepEqual(engine.route(sni, EAST), { kind: 'refuse', reason }));
}

test('what is reached through a gateway, or of another trust domain, is never routed to: no loops', () => {
  const away = compile(
    snapshotOf(
      aServiceView({
        endpoints: [
          anEndpoint({ id: 'west/gateway', viaGateway: true }),
          anEndpoint({ id: 'west/a', trustDomain: 'west.acme.example' }),
          anEndpoint({ id: 'east/other-port', ports: { admin: 1 } }),
          anEndpoint({ id: 'east/here' }),
        ],
      }),
    ),
  );
  const route = away.route('http.payments.shop.svc.east.acme.example', EAST);
  assert.deepEqual(route.kind === 'endpoints' && route.tiers.flat().map((e) => e.id), ['east/here']);
});

test('a service nobody knows is NR, picked or explained', () => {
  const request = { service: { namespace: 'shop', name: 'nothing' }, port: 'http', exclude: new Set<string>(), unavailable: () => false, random: () => 0 };
  assert.deepEqual(engine.pick(request), { kind: 'reject', reason: 'NR' });
  assert.deepEqual(engine.explain(request), { pick: { kind: 'reject', reason: 'NR' }, tiers: [] });
});

test('reserved names exist before any snapshot, so that something can join', () => {
  const empty = compile({ version: 0, resources: new Map() });
  assert.deepEqual(empty.route('control-plane.isthmus.east.acme.example', EAST), { kind: 'reserved', name: 'control-plane' });
  assert.deepEqual(empty.route('store.isthmus.east.acme.example', EAST), { kind: 'reserved', name: 'store' });
  assert.deepEqual(empty.route('trust-root.isthmus.acme.example', EAST), { kind: 'reserved', name: 'trust-root' });
});

test('every service and port of a snapshot: only exported ones are routed (CVE-2021-31921)', () => {
  for (const compiled of engine.services()) {
    for (const port of compiled.view.ports) {
      const route = engine.route(serviceSni(compiled.view, port.name, EAST), EAST);
      assert.equal(route.kind === 'endpoints', compiled.view.exported && compiled.view.name !== 'dead');
    }
  }
});

test('a service that did not change is not compiled again', () => {
  const payments = aServiceView();
  const first = compile(snapshotOf(payments, aServiceView({ name: 'other' })));
  const second = compile(snapshotOf(payments, aServiceView({ name: 'other', exported: false })), first);
  assert.equal(second.service(payments), first.service(payments));
  assert.notEqual(second.service({ namespace: 'shop', name: 'other' }), first.service({ namespace: 'shop', name: 'other' }));
});
