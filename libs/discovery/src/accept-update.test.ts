import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EMPTY_SNAPSHOT, type Snapshot, type SnapshotResource } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { acceptUpdate, type RawUpdate } from './accept-update.ts';

const bundle: SnapshotResource = { kind: 'bundle', bundle: { trustDomain: 'east.acme.example', sequence: 1, refreshHintSeconds: 60, x509Authorities: [] } };

function update(upserts: readonly unknown[], over: Partial<RawUpdate> = {}): RawUpdate {
  return { full: false, version: 2, upserts: upserts.map((u) => Buffer.from(typeof u === 'string' ? u : JSON.stringify(u))), removals: [], ...over };
}

function accepted(current: Snapshot, u: RawUpdate) {
  const result = acceptUpdate(current, u);
  assert.ok(result.ok, result.ok ? '' : result.reason);
  return result;
}

const base = (): Snapshot => accepted(EMPTY_SNAPSHOT, update([bundle, aServiceView()], { full: true, version: 1 })).snapshot;

describe('an update is taken', () => {
  test('and unchanged resources of a full one stay the very same values', () => {
    const before = base();
    const { snapshot, changed } = accepted(before, update([bundle, aServiceView(), aServiceView({ name: 'orders' })], { full: true }));
    assert.equal(snapshot.resources.get('service/shop/payments'), before.resources.get('service/shop/payments'));
    assert.deepEqual(changed, ['service/shop/orders']);
  });

  test('with removals named among the changes', () => {
    const { snapshot, changed } = accepted(base(), update([], { removals: ['service/shop/payments'] }));
    assert.deepEqual([...snapshot.resources.keys()], ['bundle/east.acme.example']);
    assert.deepEqual(changed, ['service/shop/payments']);
  });

  test('from a newer control plane: unknown fields and unknown kinds are let pass', () => {
    const { snapshot, skipped } = accepted(base(), update([{ ...aServiceView({ name: 'orders' }), shiny: 1 }, { kind: 'weather', sunny: true }]));
    assert.equal(skipped, 1);
    assert.ok(snapshot.resources.has('service/shop/orders'));
  });
});

describe('an update is refused as a whole', () => {
  const rows: readonly (readonly [string, RawUpdate, RegExp])[] = [
    ['when a resource is not JSON', update(['{']), /not JSON/],
    ['when a resource does not parse', update([{ ...aServiceView(), ports: [{ name: 'http', port: 0, protocol: 'http' }] }]), /ports/],
    ['when an endpoint’s trust domain has no bundle', update([aServiceView({ endpoints: [anEndpoint({ trustDomain: 'west.acme.example' })] })]), /no bundle for west/],
    ['when it takes away a bundle still needed', update([], { removals: ['bundle/east.acme.example'] }), /no bundle for east/],
    ['when a resource stands twice', update([aServiceView(), aServiceView()]), /twice/],
    ['when an endpoint stands twice', update([aServiceView({ endpoints: [anEndpoint(), anEndpoint()] })]), /stands twice/],
    ['when a full one lacks a bundle', update([aServiceView()], { full: true }), /no bundle/],
  ];
  for (const [name, raw, reason] of rows) {
    test(name, () => {
      const result = acceptUpdate(base(), raw);
      assert.ok(!result.ok);
      assert.match(result.reason, reason);
    });
  }
});
