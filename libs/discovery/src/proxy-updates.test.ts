import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { ClusterView } from '@isthmus/model';
import { applyDelta, EMPTY_SNAPSHOT, type Snapshot, type SnapshotResource } from '@isthmus/model';
import { aServiceView } from '@isthmus/model/testing';
import { type NextUpdate, ProxyUpdates } from './proxy-updates.ts';

/** A world of resources that a test changes, and the updates of a proxy in it. */
function world(initial: Readonly<Record<string, SnapshotResource>> = {}) {
  const resources = new Map(Object.entries(initial));
  const updates = new ProxyUpdates({
    names: () => [...resources.keys()],
    build: (name) => {
      const resource = resources.get(name);
      return resource && { resource, json: JSON.stringify(resource) };
    },
    firstVersion: 10,
  });
  return {
    updates,
    put: (name: string, resource: SnapshotResource) => {
      resources.set(name, resource);
      updates.touch([name]);
    },
    remove: (name: string) => {
      resources.delete(name);
      updates.touch([name]);
    },
    resources,
  };
}

const service = (name: string, weight = 1): SnapshotResource => aServiceView({ name, endpoints: [{ ...aServiceView().endpoints[0]!, weight }] });
const cluster = (state: 'fresh' | 'stale'): ClusterView => ({ kind: 'cluster', cluster: 'west', trustDomain: 'west.acme.example', state });
const sent = (update: NextUpdate | undefined) => update && { full: update.full, names: update.upserts.map((json) => (JSON.parse(json) as { name?: string }).name ?? 'cluster'), removals: update.removals };

describe('what a proxy is sent', () => {
  test('first everything, then only what changed', () => {
    const w = world({ 'service/shop/a': service('a'), 'service/shop/b': service('b') });
    assert.deepEqual(sent(w.updates.next()), { full: true, names: ['a', 'b'], removals: [] });
    w.updates.ack(11);
    w.put('service/shop/b', service('b', 2));
    assert.deepEqual(sent(w.updates.next()), { full: false, names: ['b'], removals: [] });
  });

  test('nothing more while an update is under way, and then the newest state once', () => {
    const w = world({ 'service/shop/a': service('a') });
    w.updates.next();
    for (const weight of [2, 3, 4]) w.put('service/shop/a', service('a', weight));
    assert.equal(w.updates.next(), undefined);
    w.updates.ack(11);
    const next = w.updates.next();
    assert.equal(next?.upserts.length, 1);
    assert.match(next?.upserts[0] ?? '', /"weight":4/);
    assert.equal(next?.version, 12);
  });

  test('nothing when a touched resource still says the same', () => {
    const w = world({ 'service/shop/a': service('a') });
    w.updates.next();
    w.updates.ack(11);
    w.put('service/shop/a', service('a'));
    assert.equal(w.updates.next(), undefined);
  });

  test('a removal by name', () => {
    const w = world({ 'service/shop/a': service('a') });
    w.updates.next();
    w.updates.ack(11);
    w.remove('service/shop/a');
    assert.deepEqual(sent(w.updates.next()), { full: false, names: [], removals: ['service/shop/a'] });
  });

  test('an answer to another version changes nothing', () => {
    const w = world({ 'service/shop/a': service('a') });
    w.updates.next();
    assert.equal(w.updates.ack(10), false);
    assert.equal(w.updates.nack(12), false);
    assert.equal(w.updates.next(), undefined);
  });
});

describe('what a proxy refused', () => {
  function refusing() {
    const w = world({ 'service/shop/a': service('a'), 'service/shop/b': service('b'), 'cluster/west': cluster('fresh') });
    w.updates.next();
    w.updates.ack(11);
    w.put('service/shop/a', service('a', 2));
    w.updates.next();
    w.updates.nack(12);
    return w;
  }

  test('is not sent again as it was', () => {
    const w = refusing();
    w.updates.touch(['service/shop/a']);
    assert.equal(w.updates.next(), undefined);
  });

  test('does not hold up other resources', () => {
    const w = refusing();
    w.put('service/shop/b', service('b', 2));
    assert.deepEqual(sent(w.updates.next())?.names, ['b']);
  });

  test('is sent when it changes', () => {
    const w = refusing();
    w.put('service/shop/a', service('a', 3));
    assert.deepEqual(sent(w.updates.next())?.names, ['a']);
  });

  test('is sent along when a bundle or cluster it may need changes', () => {
    const w = refusing();
    w.put('cluster/west', cluster('stale'));
    assert.deepEqual(sent(w.updates.next())?.names.toSorted(), ['a', 'cluster']);
  });

  test('as a first update is sent whole again, once anything in it changed', () => {
    const w = world({ 'service/shop/a': service('a'), 'service/shop/b': service('b') });
    w.updates.next();
    w.updates.nack(11);
    assert.equal(w.updates.next(), undefined);
    w.put('service/shop/b', service('b', 2));
    assert.deepEqual(sent(w.updates.next()), { full: true, names: ['a', 'b'], removals: [] });
  });
});

test('whatever changes and whenever acks come, the proxy ends with exactly the full snapshot', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('put' as const), name: fc.constantFrom('a', 'b', 'c', 'd'), weight: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ do: fc.constant('remove' as const), name: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ do: fc.constant('exchange' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const w = world({ 'service/shop/a': service('a') });
      let proxy: Snapshot = EMPTY_SNAPSHOT;
      let inFlight: NextUpdate | undefined;
      const exchange = (): boolean => {
        if (inFlight !== undefined) {
          const upserts = inFlight.upserts.map((json) => JSON.parse(json) as SnapshotResource);
          proxy = applyDelta(proxy, { ...inFlight, upserts });
          w.updates.ack(inFlight.version);
        }
        inFlight = w.updates.next();
        return inFlight !== undefined;
      };
      for (const s of steps) {
        if (s.do === 'put') w.put(`service/shop/${s.name}`, service(s.name, s.weight));
        else if (s.do === 'remove') w.remove(`service/shop/${s.name}`);
        else exchange();
      }
      while (exchange());
      assert.deepEqual(new Map([...proxy.resources].toSorted()), new Map([...w.resources].toSorted()));
    }),
  );
});
