import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { applyDelta, type Delta, EMPTY_SNAPSHOT, parseSnapshotResource, resourceName, type Snapshot, snapshotProblems, type SnapshotResource } from './snapshot.ts';
import { anEndpoint, aServiceView } from './testing.ts';

const bundle = (trustDomain: string): SnapshotResource => ({ kind: 'bundle', bundle: { trustDomain, sequence: 1, refreshHintSeconds: 60, x509Authorities: [] } });
const snapshotOf = (...resources: SnapshotResource[]): Snapshot => applyDelta(EMPTY_SNAPSHOT, { full: true, version: 1, upserts: resources, removals: [] });

test('resources go by kind and name', () => {
  assert.equal(resourceName(aServiceView()), 'service/shop/payments');
  assert.equal(resourceName(bundle('east.acme.example')), 'bundle/east.acme.example');
  assert.equal(resourceName({ kind: 'cluster', cluster: 'east', trustDomain: 'east.acme.example', state: 'fresh' }), 'cluster/east');
});

test('a delta changes what it names and leaves the rest as the very same objects', () => {
  const before = snapshotOf(aServiceView(), bundle('east.acme.example'), bundle('west.acme.example'));
  const after = applyDelta(before, { full: false, version: 2, upserts: [aServiceView({ exported: false })], removals: ['bundle/west.acme.example'] });
  assert.equal(after.version, 2);
  assert.deepEqual([...after.resources.keys()].sort(), ['bundle/east.acme.example', 'service/shop/payments']);
  assert.equal(after.resources.get('bundle/east.acme.example'), before.resources.get('bundle/east.acme.example'));
  assert.equal(before.resources.size, 3, 'the old snapshot is untouched');
});

test('a full update forgets what it does not name', () => {
  const after = applyDelta(snapshotOf(aServiceView(), bundle('a')), { full: true, version: 9, upserts: [bundle('b')], removals: [] });
  assert.deepEqual([...after.resources.keys()], ['bundle/b']);
});

test('any sequence of deltas ends where one full update with the same content ends', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd');
  const delta = fc.record({ upserts: fc.array(name, { maxLength: 3 }), removals: fc.array(name, { maxLength: 2 }) });
  fc.assert(
    fc.property(fc.array(delta, { maxLength: 20 }), (deltas) => {
      const expected = new Map<string, number>();
      let snapshot = EMPTY_SNAPSHOT;
      deltas.forEach(({ upserts, removals }, i) => {
        for (const n of removals) expected.delete(n);
        for (const n of upserts) expected.set(n, i);
        const step: Delta = {
          full: false,
          version: i + 1,
          removals: removals.map((n) => `bundle/${n}`),
          upserts: upserts.map((n) => ({ kind: 'bundle', bundle: { trustDomain: n, sequence: i, refreshHintSeconds: 1, x509Authorities: [] } })),
        };
        snapshot = applyDelta(snapshot, step);
      });
      const seen = new Map([...snapshot.resources.values()].map((r) => (r.kind === 'bundle' ? [r.bundle.trustDomain, r.bundle.sequence] : ['', 0])));
      assert.deepEqual(new Map([...seen].sort()), new Map([...expected].sort()));
    }),
  );
});

test('a snapshot with an endpoint that could never be verified is unfit, and the reason names it', () => {
  assert.match(snapshotProblems(snapshotOf(aServiceView())).join(), /service\/shop\/payments: endpoint east\/a\.payments-1 has no bundle for east\.acme\.example/);
  assert.deepEqual(snapshotProblems(snapshotOf(aServiceView(), bundle('east.acme.example'))), []);
});

test('an endpoint that stands twice in a service is a problem', () => {
  const twice = aServiceView({ endpoints: [anEndpoint(), anEndpoint()] });
  assert.match(snapshotProblems(snapshotOf(twice, bundle('east.acme.example'))).join(), /stands twice/);
});

test('a resource with fields of a later version is taken, one of an unknown kind is not', () => {
  assert.ok(parseSnapshotResource({ ...aServiceView(), addedLater: true }).ok);
  assert.ok(!parseSnapshotResource({ kind: 'listener' }).ok);
});
