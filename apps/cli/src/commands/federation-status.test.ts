// The federation on one screen.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FederationStatus, formatFederation } from './federation-status.ts';

const status: FederationStatus = {
  cluster: 'east',
  clusters: [
    { cluster: 'east', source: 'own', status: { store: { current: true }, identity: { secondsToIdentityLoss: 86_000 }, services: 2, exports: 1, workloads: { healthy: 3 }, peers: [{ state: 'stale' }], proxies: [{ inSync: true }, { inSync: false }] } },
    { cluster: 'west', source: 'mirror', ageMs: 20_000, status: { state: 'stale', exports: 4 }, problem: { status: 503, code: 'API_CLUSTER_UNREACHABLE', detail: 'no way' } },
  ],
  trust: { roots: [{ sha256: 'ab'.repeat(32), state: 'signing' }], rotation: { step: 'prove' } },
  attention: [{ severity: 'failing', cluster: 'west', subject: 'cluster', detail: 'cannot be asked' }, { severity: 'under-way', cluster: '', subject: 'rotation of the root', detail: 'is at prove' }],
};

test('what needs a look comes first, then a line for each cluster and one for the root of trust', () => {
  const lines = formatFederation(status, false).split('\n');
  assert.deepEqual(lines.slice(0, 3), ['failing    west: cluster cannot be asked', 'under-way  federation: rotation of the root is at prove', '']);
  assert.match(lines[4] ?? '', /^east +answers +from itself +up to date +23h 53m\S* +2 +1 +3 healthy +0\/1 fresh +1\/2 in sync$/);
  assert.match(lines[5] ?? '', /^west +away \(stale\) +from the mirror, 20s old +- +- +- +4 +-/);
  assert.equal(lines.at(-1), 'root of trust: abababababab signing; rotation at prove');
  assert.match(formatFederation(status, true), /\x1b\[31mfailing/);
  assert.match(formatFederation({ ...status, attention: [] }, false), /^nothing needs a look\n/);
});
