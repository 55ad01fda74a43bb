import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProxyDrain } from '@isthmus/discovery';
import { type DesiredDrain, NO_DRAIN } from '@isthmus/model';
import { keys } from '@isthmus/store';
import { openTestStore } from '@isthmus/store/testing';
import { silentLog } from '@isthmus/telemetry';
import { openDrains, openGateways, proxiesOf } from './drains.ts';

const told = (over: Partial<ProxyDrain>): ProxyDrain => ({ kind: 'gateway', name: 'gw-1', revision: 4, state: 'drained', connections: 0, heardAtMs: 1, ...over });
const draining = (...names: readonly string[]) => ({ desired: (_role: string, name: string): DesiredDrain => (names.includes(name) ? { revision: 4, draining: true, workloads: [] } : NO_DRAIN) });

test('others are told of the gateways that do not drain, and of all where that would leave none', () => {
  const both = ['192.0.2.1:1', '192.0.2.2:1'];
  const progress = () => [told({ name: 'gw-1', address: '192.0.2.1:1' }), told({ name: 'gw-2', address: '192.0.2.2:1' }), told({ kind: 'agent', name: 'gw-1', address: '192.0.2.2:1' })];
  assert.deepEqual(openGateways(both, draining(), progress), both);
  assert.deepEqual(openGateways(both, draining('gw-1'), progress), ['192.0.2.2:1']);
  assert.deepEqual(openGateways(both, draining('gw-1', 'gw-2'), progress), both);
  assert.deepEqual(openGateways(both, draining('gw-1'), () => [told({ name: 'gw-1' })]), both, 'one that does not say how it is reached');
});

test('a drain is followed in the store, shown beside what the process says, and counts as acknowledged at its own revision only', async () => {
  const { store, close } = await openTestStore();
  const drains = await openDrains({ store, log: silentLog() });
  const changed: string[] = [];
  const change = async (write: () => Promise<unknown>): Promise<void> => {
    const seen = Promise.withResolvers<void>();
    const stop = drains.onChange((role, name) => {
      changed.push(`${role}/${name}`);
      seen.resolve();
    });
    await write();
    await seen.promise;
    stop();
  };
  const issuance = { listEntries: async () => [{ kind: 'entry' as const, agent: 'vm-1', role: 'agent' as const, services: [], joinedAtMs: 1 }] };
  const connected = { id: 'vm-1', kind: 'agent' as const, name: 'vm-1', network: 'n', locality: 'eu', sentVersion: 3, ackedVersion: 3, connectedSinceMs: 1 };
  const shown = async (progress: readonly ProxyDrain[]) => (await proxiesOf('agent', { push: { proxies: () => [connected], drains: () => progress }, drains, issuance }))[0] as { readonly inSync: boolean; readonly drain: object };
  try {
    const document = { kind: 'drain', role: 'agent', name: 'vm-1', workloads: ['shop/cart/one'] };
    await change(() => store.put(keys.drain('agent', 'vm-1'), JSON.stringify(document)));
    const { revision } = drains.desired('agent', 'vm-1');
    assert.deepEqual(drains.desired('agent', 'vm-1'), { revision, draining: true, workloads: ['shop/cart/one'] });
    assert.deepEqual(drains.list().map((item) => [item.key, item.document, item.revision]), [['agent/vm-1', document, BigInt(revision)]]);
    assert.deepEqual((await shown([])).drain, { wanted: true, workloads: ['shop/cart/one'], acknowledged: false, state: 'unknown' });
    const late = told({ kind: 'agent', name: 'vm-1', revision: revision - 1, state: 'serving' });
    assert.deepEqual([(await shown([late])).drain, (await shown([late])).inSync], [{ wanted: true, workloads: ['shop/cart/one'], acknowledged: false, state: 'serving', connections: 0, heardAtMs: 1 }, true]);
    const done = told({ kind: 'agent', name: 'vm-1', revision, problem: 'why' });
    assert.deepEqual((await shown([done])).drain, { wanted: true, workloads: ['shop/cart/one'], acknowledged: true, state: 'drained', connections: 0, problem: 'why', heardAtMs: 1 });
    await change(() => store.put(keys.drain('agent', 'vm-1'), '{"kind":"drain"}'));
    assert.deepEqual(drains.desired('agent', 'vm-1'), NO_DRAIN, 'what does not parse drains nobody');
    await change(() => store.delete(keys.drain('agent', 'vm-1')));
    assert.deepEqual([drains.list(), changed], [[], ['agent/vm-1', 'agent/vm-1', 'agent/vm-1']]);
  } finally {
    await drains.close();
    await close();
  }
});
