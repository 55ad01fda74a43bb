import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { formatServiceName } from '@isthmus/model';
import { fakeClock, type FakeClock } from '@isthmus/runtime/testing';
import { keys, type Store } from '@isthmus/store';
import { openTestStore, type TestStore } from '@isthmus/store/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { openRegistry, type Registry } from './registry.ts';
import { aRegistration } from './testing.ts';

let stores: TestStore;
let serial = 0;
const open: Registry[] = [];

before(async () => {
  stores = await openTestStore();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((r) => r.close()));
});
after(() => stores.close());

/** A registry on its own prefix of the store, with time in the test's hand. */
async function fresh(over: { readonly prefix?: string; readonly clock?: FakeClock } = {}): Promise<{ registry: Registry; clock: FakeClock; store: Store; changes: string[]; prefix: string }> {
  const prefix = over.prefix ?? `/t${(serial += 1)}/`;
  const clock = over.clock ?? fakeClock();
  const store = await stores.open({ prefix });
  const registry = await openRegistry({ store, clock, random: () => 0.5, log: silentLog(), metrics: openMetrics(), graceMs: 10_000 });
  open.push(registry);
  const changes: string[] = [];
  registry.onChange((names) => changes.push(...names.map(formatServiceName)));
  return { registry, clock, store, changes, prefix };
}

const one = aRegistration({ instance: 'one' });
const two = aRegistration({ instance: 'two' });
const instances = (registry: Registry): string[] => registry.list().map((r) => r.instance).toSorted();
const stored = async (store: Store): Promise<string[]> => (await store.list(keys.workloads())).entries.map((e) => e.key);

describe('reports', () => {
  test('change the local truth at once and the store beside the path, under a lease', async () => {
    const { registry, store, changes } = await fresh();
    registry.report('a1', [one], { full: true });
    assert.deepEqual([instances(registry), changes], [['one'], ['shop/payments']]);
    await registry.settled();
    const { entries } = await store.list(keys.workloads());
    assert.deepEqual(entries.map((e) => e.key), ['workloads/shop/payments/a1.one']);
    assert.notEqual(entries[0]?.leaseId, 0n);
  });

  test('that are full take away what they do not hold', async () => {
    const { registry, store } = await fresh();
    registry.report('a1', [one, two], { full: true });
    registry.report('a1', [one], { full: true });
    await registry.settled();
    assert.deepEqual([instances(registry), await stored(store)], [['one'], ['workloads/shop/payments/a1.one']]);
  });

  test('of one agent never touch another’s, even at one address', async () => {
    const { registry } = await fresh();
    registry.report('a1', [one], { full: true });
    registry.report('a2', [{ ...one, agent: 'a2' }], { full: true });
    registry.report('a1', [], { full: true });
    assert.deepEqual(registry.list().map((r) => r.agent), ['a2']);
  });

  test('that say the same again tell nobody', async () => {
    const { registry, changes } = await fresh();
    registry.report('a1', [one], { full: true });
    registry.report('a1', [{ ...one, sequence: 2 }], { full: false });
    assert.deepEqual(changes, ['shop/payments']);
  });

  test('count towards capacity only with healthy workloads', async () => {
    const { registry } = await fresh();
    registry.report('a1', [one, { ...two, health: 'unhealthy' }, aRegistration({ instance: 'three', health: 'unknown' })], { full: true });
    assert.deepEqual(registry.capacity({ namespace: 'shop', name: 'payments' }), { readyCount: 1, totalCount: 3, readyWeight: 100 });
  });
});

describe('late words', () => {
  test('with a lower sequence are ignored', async () => {
    const { registry } = await fresh();
    registry.report('a1', [{ ...one, sequence: 5, health: 'unhealthy' }], { full: true });
    registry.report('a1', [{ ...one, sequence: 4 }], { full: false });
    assert.deepEqual(registry.list().map((r) => r.health), ['unhealthy']);
  });

  test('about a removed workload do not bring it back', async () => {
    const { registry } = await fresh();
    registry.report('a1', [{ ...one, sequence: 5 }], { full: true });
    registry.report('a1', [], { full: false, removed: ['shop/payments/a1.one'] });
    registry.report('a1', [{ ...one, sequence: 5 }], { full: false });
    assert.deepEqual(instances(registry), []);
    registry.report('a1', [{ ...one, sequence: 6 }], { full: false });
    assert.deepEqual(instances(registry), ['one']);
  });

  test('of a stream that a newer one replaced are ignored, and so is its end', async () => {
    const { registry, clock } = await fresh();
    const old = registry.agentArrived('a1');
    registry.report('a1', [one], { full: true, epoch: old });
    const now = registry.agentArrived('a1');
    registry.report('a1', [one], { full: true, epoch: now });
    registry.report('a1', [], { full: true, epoch: old });
    registry.agentGone('a1', old);
    await clock.advance(60_000);
    assert.deepEqual(instances(registry), ['one']);
  });

  test('of a stream that ended are ignored', async () => {
    const { registry, clock } = await fresh();
    const epoch = registry.agentArrived('a1');
    registry.report('a1', [one], { full: true, epoch });
    registry.agentGone('a1', epoch);
    await clock.advance(10_001);
    registry.report('a1', [{ ...one, sequence: 99 }], { full: false, epoch });
    assert.deepEqual(instances(registry), []);
  });
});

describe('an agent whose stream ended', () => {
  test('keeps its endpoints for the grace period, then they go out, in the store too', async () => {
    const { registry, clock, store, changes } = await fresh();
    registry.report('a1', [one], { full: true });
    registry.agentGone('a1');
    await clock.advance(9_999);
    assert.deepEqual(instances(registry), ['one']);
    await clock.advance(2);
    assert.deepEqual([instances(registry), changes], [[], ['shop/payments', 'shop/payments']]);
    await registry.settled();
    assert.deepEqual(await stored(store), []);
  });

  test('and comes back within it loses nothing', async () => {
    const { registry, clock, changes } = await fresh();
    registry.report('a1', [one], { full: true });
    registry.agentGone('a1');
    await clock.advance(5_000);
    registry.report('a1', [one], { full: true });
    await clock.advance(60_000);
    assert.deepEqual([instances(registry), changes], [['one'], ['shop/payments']]);
  });
});

describe('a control plane that starts again', () => {
  test('has its workloads from the store, and drops only those not reported within the grace period', async () => {
    const first = await fresh();
    first.registry.report('a1', [one, two], { full: true });
    first.registry.report('a2', [aRegistration({ agent: 'a2', instance: 'three' })], { full: true });
    await first.registry.close();

    const second = await fresh({ prefix: first.prefix });
    assert.deepEqual(instances(second.registry), ['one', 'three', 'two']);
    await second.clock.advance(9_000);
    assert.deepEqual(instances(second.registry), ['one', 'three', 'two']);
    const epoch = second.registry.agentArrived('a1');
    second.registry.report('a1', [one], { full: true, epoch });
    await second.clock.advance(2_000);
    await second.registry.settled();
    assert.deepEqual([instances(second.registry), await stored(second.store)], [['one'], ['workloads/shop/payments/a1.one']]);
  });

  test('puts what it read back on leases of its own', async () => {
    const first = await fresh();
    first.registry.report('a1', [one], { full: true });
    await first.registry.settled();
    const before = (await first.store.list(keys.workloads())).entries[0]?.leaseId;
    const second = await fresh({ prefix: first.prefix });
    await second.registry.settled();
    const afterwards = (await second.store.list(keys.workloads())).entries[0]?.leaseId;
    assert.notEqual(afterwards, before);
  });

  test('skips records that do not parse', async () => {
    const { store, prefix } = await fresh();
    await store.put(keys.workload('shop', 'payments', 'a1.one'), 'nonsense');
    await store.put(keys.workload('shop', 'payments', 'a1.other'), JSON.stringify(one));
    await store.put(keys.workload('shop', 'payments', 'a1.two'), JSON.stringify(two));
    const { registry } = await fresh({ prefix });
    assert.deepEqual(instances(registry), ['two']);
  });
});

test('no lease holds more than 500 keys', async () => {
  const { registry, store } = await fresh();
  registry.report('a1', Array.from({ length: 1_001 }, (_, i) => aRegistration({ instance: `i${i}` })), { full: true });
  await registry.settled();
  const { entries } = await store.list(keys.workloads());
  const perLease = Map.groupBy(entries, (e) => e.leaseId);
  assert.deepEqual([...perLease.values()].map((keysOfLease) => keysOfLease.length).toSorted(), [1, 500, 500]);
});
