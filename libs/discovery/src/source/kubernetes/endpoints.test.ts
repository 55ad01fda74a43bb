import assert from 'node:assert/strict';
import { test } from 'node:test';
import { valueOf } from '@isthmus/model';
import { endpointsOf, healthOf, localityOf } from './endpoints.ts';
import { type KubeEndpointSlice, parseKubeEndpointSlice } from './objects.ts';
import { type ApiObject, aPod, aSlice } from './scripted-api-server.ts';

const PAYMENTS = { namespace: 'shop', name: 'payments' };
const read = (object: ApiObject): KubeEndpointSlice => valueOf(parseKubeEndpointSlice({ ...object, metadata: { ...object.metadata, resourceVersion: '1' } }));
const of = (...slices: readonly ApiObject[]) => endpointsOf(PAYMENTS, slices.map(read));

const CONDITIONS: readonly (readonly [object, string])[] = [
  [{}, 'healthy'],
  [{ ready: null, serving: null, terminating: null }, 'healthy'],
  [{ ready: true }, 'healthy'],
  [{ ready: false }, 'unhealthy'],
  [{ ready: false, serving: true }, 'unhealthy'],
  [{ ready: false, serving: true, terminating: true }, 'draining'],
  [{ ready: false, serving: false, terminating: true }, 'unhealthy'],
  [{ ready: true, terminating: true }, 'draining'],
];
for (const [conditions, health] of CONDITIONS) {
  test(`conditions ${JSON.stringify(conditions)} are ${health}`, () => {
    const [endpoint] = of(aSlice('payments', [aPod('p-1', '10.1.0.5', { conditions })]));
    assert.equal(endpoint?.health, health);
  });
}

test('an endpoint has its pod’s name, its address, node, zone, and where it listens by port name', () => {
  assert.deepEqual(of(aSlice('payments', [aPod('p-1', '10.1.0.5')])), [
    { service: PAYMENTS, instance: 'p-1', address: '10.1.0.5', health: 'healthy', nodeName: 'node-1', zone: 'eu-a', ports: { http: 8_080 } },
  ]);
});

test('a pod in slices of two families is one endpoint, at its IPv4 address whatever the order', () => {
  const v4 = aSlice('payments', [aPod('p-1', '10.1.0.5')], { name: 'payments-z' });
  const v6 = aSlice('payments', [aPod('p-1', 'fd00::5')], { name: 'payments-a', fields: { addressType: 'IPv6' } });
  for (const slices of [[v4, v6], [v6, v4]]) assert.deepEqual(of(...slices).map((e) => e.address), ['10.1.0.5']);
  assert.deepEqual(of(v6).map((e) => e.address), ['fd00::5']);
});

test('a pod in two slices, while they are rewritten or because its ports differ, is one endpoint with all ports and the more careful health', () => {
  const one = aSlice('payments', [aPod('p-1', '10.1.0.5')], { name: 'payments-1' });
  const two = aSlice('payments', [aPod('p-1', '10.1.0.5', { conditions: { ready: false, serving: true, terminating: true } })], { name: 'payments-2', fields: { ports: [{ name: 'admin', port: 9_000, protocol: 'TCP' }] } });
  const [endpoint, ...others] = of(one, two);
  assert.deepEqual([endpoint?.health, endpoint?.ports, others.length], ['draining', { http: 8_080, admin: 9_000 }, 0]);
});

test('what is no pod, or has a name that is no label, gets a name of its own that stays the same', () => {
  const slice = aSlice('payments', [aPod('web.1', '10.1.0.5'), { addresses: ['10.1.0.6'] }]);
  const names = of(slice).map((e) => e.instance);
  assert.equal(new Set(names).size, 2);
  for (const name of names) assert.match(name, /^e-[0-9a-f]{16}$/);
  assert.deepEqual(of(slice).map((e) => e.instance), names);
});

test('addresses that are the agent’s own machine, its neighbours or no addresses are not dialled', () => {
  for (const address of ['127.0.0.1', '169.254.169.254', '0.0.0.0', '224.0.0.1', '255.255.255.255', '300.1.1.1', '::1', '::', 'fe80::1', 'ff02::1', '::ffff:7f00:1', '0:0:0:0:0:ffff:127.0.0.1', '::7f00:1', 'fd00::1%eth0', 'metadata.internal']) {
    const addressType = address.includes(':') ? 'IPv6' : 'IPv4';
    assert.deepEqual(of(aSlice('payments', [aPod('p-1', address)], { fields: { addressType } })), [], address);
  }
  assert.deepEqual(of(aSlice('payments', [aPod('p-1', 'db.example')], { fields: { addressType: 'FQDN' } })), []);
});

test('slices of other services, of no service, and ports that are not TCP count for nothing', () => {
  assert.deepEqual(of(aSlice('ledger', [aPod('p-1', '10.1.0.5')])), []);
  assert.deepEqual(of(aSlice('payments', [aPod('p-1', '10.1.0.5')], { fields: { ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] } })), []);
  assert.deepEqual(of(aSlice('payments', [aPod('p-1', '10.1.0.5')], { fields: { ports: null, endpoints: null } })), []);
  assert.deepEqual(of(aSlice('payments', [aPod('p-1', '10.1.0.5')], { fields: { ports: [{ port: 9_000, protocol: 'TCP' }] } })).map((e) => e.ports), [{ default: 9_000 }]);
});

test('locality is the region of the agent with the zone of the node', () => {
  assert.equal(localityOf('eu', 'eu-a'), 'eu/eu-a');
  assert.equal(localityOf('eu/x/rack', 'eu-a'), 'eu/eu-a');
  assert.equal(localityOf('eu/x', ''), 'eu/x');
  assert.equal(localityOf('', 'eu-a'), '');
});

test('health by conditions alone, as the API’s words are', () => {
  assert.equal(healthOf({ ready: true, serving: true, terminating: false }), 'healthy');
});
