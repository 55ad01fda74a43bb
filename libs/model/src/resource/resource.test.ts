import assert from 'node:assert/strict';
import test from 'node:test';
import { aService } from '../testing.ts';
import { parseBundle } from '../bundle.ts';
import { parseExport } from './export.ts';
import { parseDrain } from './drain.ts';
import { parseEntry, parseJoinToken } from './join-token.ts';
import { parseService } from './service.ts';
import { parseRegistration, parseWorkload, registrationKey } from './workload.ts';

const WORKLOAD = { kind: 'workload', namespace: 'shop', service: 'payments', instance: 'payments-1', ports: { http: 9000 } };
const REGISTRATION = { namespace: 'shop', service: 'payments', instance: 'payments-1', agent: 'a', address: '10.0.0.1', inboundPorts: { http: 20_000 }, network: 'n', locality: 'eu/a', weight: 100, health: 'healthy', sequence: 0 };
const TOKEN = { kind: 'join-token', id: '0123456789ab', secretSha256: 'a'.repeat(64), agent: 'vm-1', services: ['shop/payments'], role: 'agent', expiresAtMs: 1 };

test('what people write may hold no unknown field', () => {
  assert.ok(!parseService({ ...aService(), protcol: 'http' }).ok);
  assert.ok(!parseWorkload({ ...WORKLOAD, healthcheck: {} }).ok);
  assert.ok(!parseExport({ kind: 'export', namespace: 'shop', name: 'payments', consumers: 'all', extra: 1 }).ok);
});

test('what programs of another version write may hold more', () => {
  assert.ok(parseRegistration({ ...REGISTRATION, addedLater: 1 }).ok);
  assert.ok(parseJoinToken({ ...TOKEN, addedLater: 1 }).ok);
  assert.ok(parseEntry({ kind: 'entry', agent: 'vm-1', role: 'agent', services: [], joinedAtMs: 0, addedLater: 1 }).ok);
  assert.ok(parseBundle({ trustDomain: 'a', sequence: 0, refreshHintSeconds: 1, x509Authorities: [], addedLater: 1 }).ok);
});

for (const [name, over] of [
  ['no port', { ports: [] }],
  ['port 0', { ports: [{ name: 'http', port: 0, protocol: 'http' }] }],
  ['port 65536', { ports: [{ name: 'http', port: 65_536, protocol: 'http' }] }],
  ['an unknown protocol', { ports: [{ name: 'http', port: 80, protocol: 'udp' }] }],
  ['a name in upper case', { name: 'Payments' }],
  ['seventeen ports', { ports: Array.from({ length: 17 }, (_, i) => ({ name: `p${i}`, port: i + 1, protocol: 'tcp' })) }],
] as const) {
  test(`a service with ${name} is refused`, () => assert.ok(!parseService({ ...aService(), ...over }).ok));
}

for (const [name, over] of [
  ['no port', { ports: {} }],
  ['a port name that is no label', { ports: { 'Bad Name': 80 } }],
  ['a host with spaces', { host: 'a b' }],
  ['weight 0', { weight: 0 }],
  ['a probe every millisecond', { healthCheck: { kind: 'tcp', intervalMs: 1 } }],
  ['a probe path without a slash', { healthCheck: { kind: 'http', path: 'healthz' } }],
] as const) {
  test(`a workload with ${name} is refused`, () => assert.ok(!parseWorkload({ ...WORKLOAD, ...over }).ok));
}

test('an export is for all or for named clusters, never for nobody', () => {
  const to = (consumers: unknown) => parseExport({ kind: 'export', namespace: 'shop', name: 'payments', consumers }).ok;
  assert.ok(to('all') && to(['west']));
  assert.ok(!to([]) && !to('west') && !to(['West']));
});

test('a drain is of an agent, whole or some of its workloads, or of a whole gateway', () => {
  const drain = { kind: 'drain', role: 'agent', name: 'vm-1', workloads: ['shop/cart/one'] };
  assert.ok(parseDrain(drain).ok && parseDrain({ kind: 'drain', role: 'gateway', name: 'gw-1', reason: 'new disk' }).ok);
  for (const wrong of [{ role: 'gateway' }, { role: 'operator' }, { workloads: [] }, { workloads: ['cart'] }, { name: 'VM' }, { until: 1 }]) assert.ok(!parseDrain({ ...drain, ...wrong }).ok, JSON.stringify(wrong));
});

test('a join token keeps only the hash of its secret, in full', () => {
  assert.ok(parseJoinToken(TOKEN).ok);
  assert.ok(!parseJoinToken({ ...TOKEN, secretSha256: 'a'.repeat(63) }).ok);
  assert.ok(!parseJoinToken({ ...TOKEN, role: 'admin' }).ok);
});

test('a registration is known by agent and instance, not by address', () => {
  assert.equal(registrationKey({ agent: 'a', instance: 'payments-1' }), 'a.payments-1');
});
