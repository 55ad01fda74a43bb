import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatStatus } from './status.ts';

const healthy = {
  cluster: 'east', federation: 'acme.example', locality: 'eu/a', services: 2, exports: 1, workloads: { healthy: 3 },
  identity: { trustRootReachable: true, secondsToIdentityLoss: 86_000 }, store: { kind: 'etcd', current: true, refusedRecords: [] },
  peers: [{ cluster: 'west', state: 'fresh', ageMs: 2_000, exports: 2, refused: 0 }],
  proxies: [{ id: 'east-1', kind: 'agent', network: 'east', inSync: true }],
};

test('a healthy cluster says so first, then what there is', () => {
  const page = formatStatus(healthy, false);
  assert.match(page, /^nothing needs a look\n/);
  for (const part of [/cluster +east of acme\.example, eu\/a/, /identity lasts +23h 53m/, /west +fresh +2s ago +2/, /east-1 +agent +east +in sync/, /workloads +3 healthy/]) assert.match(page, part);
});

test('what is stale, refused or does not parse comes first', () => {
  const page = formatStatus(
    {
      ...healthy,
      store: { kind: 'etcd', current: false, refusedRecords: [{ key: 'resources/service/a/b', reason: 'is not JSON' }] },
      peers: [{ cluster: 'west', state: 'stale', ageMs: 20_000, exports: 2, refused: 1, lastRefusal: 'bad-signature' }],
      proxies: [{ id: 'gw', kind: 'gateway', network: 'east', inSync: false, nack: { version: 2, reason: 'no bundle' } }],
    },
    false,
  );
  assert.deepEqual(page.split('\n').filter((line) => line.startsWith('!')), [
    '! record resources/service/a/b does not parse: is not JSON',
    '! peer west is stale, last heard 20s ago',
    '! peer west: 1 records refused, last: bad-signature',
    '! proxy gw refused a snapshot: no bundle',
  ]);
  assert.match(page, /last known state in use/);
});
