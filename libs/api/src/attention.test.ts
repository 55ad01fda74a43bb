// What needs a look: each kind of trouble is found, the gravest first, and a healthy federation has none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attentionOf, type ClusterPart } from './attention.ts';

const DAY_MS = 86_400_000;
const NOW_MS = 1_000 * DAY_MS;
const healthy = {
  store: { current: true, refusedRecords: [] }, workloads: { healthy: 3 },
  identity: { secondsToIdentityLoss: 80_000, rootExpiresAtMs: NOW_MS + 900 * DAY_MS, trustRootReachable: true, log: { isWritable: true } },
  peers: [{ cluster: 'west', state: 'fresh', refused: 0 }], proxies: [{ id: 'g', kind: 'gateway', inSync: true }],
  identities: [{ kind: 'agent', name: 'vm-1', isConnected: true, secondsToIdentityLoss: 3_000 }], foreignTrustDomains: [{ trustDomain: 'p.example', state: 'ok' }],
};
const east = (status: object): ClusterPart => ({ cluster: 'east', source: 'own', status: { ...healthy, ...status } });
const lines = (parts: readonly ClusterPart[], trust?: Record<string, unknown>): string[] => attentionOf(parts, trust, NOW_MS).map((a) => `${a.severity} ${a.cluster} ${a.subject}: ${a.detail}`);

test('a healthy federation needs no look', () => {
  assert.deepEqual(lines([east({})], { roots: [{ state: 'signing', expiresAtMs: NOW_MS + 900 * DAY_MS }], rotation: { step: 'done' } }), []);
});

test('a cluster that cannot be asked is failing, with how old what is known is, and nothing else is said of it', () => {
  assert.deepEqual(lines([{ cluster: 'west', source: 'mirror', ageMs: 61_000, status: { state: 'stale' }, problem: { detail: 'no way' } }]), ['failing west cluster: cannot be asked: no way; what is known of it is 1m 1s old']);
});

test('failing goes before expiring, that before stale, that before what is under way', () => {
  const found = lines(
    [
      east({
        store: { current: false, refusedRecords: [{ key: 'k', reason: 'no JSON' }] }, workloads: { healthy: 1, unhealthy: 2, draining: 1 }, drains: [{ role: 'agent', name: 'vm-7', reason: 'a new disk' }, { role: 'agent', name: 'vm-8', workloads: ['shop/cart/one'] }],
        identity: { secondsToIdentityLoss: 60, lastError: 'refused', rootExpiresAtMs: NOW_MS + DAY_MS, trustRootReachable: false, clockSkewMs: -45_000, log: { isWritable: false } },
        peers: [{ cluster: 'west', state: 'stale', ageMs: 9_000, refused: 1, lastRefusal: 'bad-signature' }, { cluster: 'north', state: 'presumed-dead', refused: 0 }],
        proxies: [{ id: 'g', kind: 'gateway', nack: { version: 1, reason: 'no bundle' } }],
        identities: [{ kind: 'agent', name: 'vm-1', isConnected: false, secondsToIdentityLoss: 0 }],
        foreignTrustDomains: [{ trustDomain: 'p.example', state: 'none' }, { trustDomain: 'q.example', state: 'failing', ageMs: 5_000, lastError: 'away' }],
      }),
    ],
    { key: { place: 'pkcs11', isAvailable: false }, roots: [{ state: 'signing', expiresAtMs: NOW_MS + 3_600_000 }, { state: 'retiring', expiresAtMs: 1 }], rotation: { step: 'prove', waitingCount: 2, paused: true, lastError: 'disk full' } },
  );
  const order = found.map((line) => line.split(' ')[0]);
  assert.deepEqual([...new Set(order)], ['failing', 'expiring', 'stale', 'under-way']);
  assert.deepEqual(order, order.toSorted((a = '', b = '') => ['failing', 'expiring', 'stale', 'under-way'].indexOf(a) - ['failing', 'expiring', 'stale', 'under-way'].indexOf(b)));
  for (const part of ['store: is away', 'record k: does not parse: no JSON', 'transparency log: cannot be written', 'clock: the trust root’s clock is 45s behind this cluster’s', 'workloads: 2 unhealthy', 'under-way east workloads: 1 draining', 'under-way east agent vm-7: is out of service: a new disk', 'agent vm-8: is out of service for 1 of its workloads', 'identity: the cluster can issue nothing more in 1m', 'expiring east root: ends in 1d', 'stale east trust root: is away: refused', 'peer west: 1 records refused', 'stale east peer west: is stale, last heard 9s ago', 'failing east peer north: is presumed-dead', 'gateway g: refused a configuration: no bundle', 'expiring east agent vm-1: its identity has run out', 'stale east agent vm-1: is not connected', 'p.example: has no bundle', 'q.example: last good bundle of 5s ago in use (away)', 'root: its key is away (pkcs11)', 'rotation of the root: cannot go on: disk full', 'expiring  root: ends in 1h', 'rotation of the root: is at prove, paused, waits for 2']) {
    assert.ok(found.some((line) => line.includes(part)), `${part}\n${found.join('\n')}`);
  }
});

test('a trust root that cannot be asked is said once, for the whole federation', () => {
  assert.deepEqual(lines([], { problem: { detail: 'no answer' } }), ['failing  trust root: cannot be asked: no answer']);
});
