import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { type DesiredDrain, type Export, type ImportedService, NO_DRAIN, type RenewHint, type Service, type ServiceName, type Snapshot, type SpiffeId } from '@isthmus/model';
import { aService } from '@isthmus/model/testing';
import { fixedSvidSource, openBundleSet } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { openChannel, type RpcServer, startRpcServer } from '@isthmus/rpc';
import { systemClock } from '@isthmus/runtime';
import { openTestStore } from '@isthmus/store/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { openDrainFollower } from './drain-follower.ts';
import { servePush } from './push.ts';
import { openRegistry } from './registry.ts';
import { subscribe, type SubscribeOptions, type Subscription } from './subscribe.ts';
import { anImport, aRegistration } from './testing.ts';
import { openViews } from './views.ts';

const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });
const CONTROL_PLANE = 'spiffe://east.acme.example/control-plane' as SpiffeId;
const parts = { clock: systemClock, random: () => 0.5, log: silentLog(), metrics: openMetrics() };

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A control plane's discovery half with a real registry, store and listener, and declarations to play with. */
async function openPlane(mayServe: (agent: string, service: ServiceName) => boolean = () => true) {
  const stores = await openTestStore();
  closers.push(() => stores.close());
  const registry = await openRegistry({ store: stores.store, ...parts });
  closers.push(() => registry.close());
  const services = new Map<string, Service>([['shop/payments', aService()]]);
  const exports = new Map<string, Export>([['shop/payments', { kind: 'export', namespace: 'shop', name: 'payments', consumers: 'all' }]]);
  let imports: ImportedService[] = [];
  const nameOf = (n: ServiceName): string => `${n.namespace}/${n.name}`;
  const bundles = openBundleSet([east.bundle, west.bundle]);
  const views = openViews({
    cluster: 'east', trustDomain: 'east.acme.example', locality: 'eu/a', gateways: ['192.0.2.9:15443'], registry, bundles,
    services: () => [...services.values()],
    service: (n) => services.get(nameOf(n)),
    export: (n) => exports.get(nameOf(n)),
    imports: () => imports,
    importsOf: (n) => imports.filter((i) => nameOf(i) === nameOf(n)),
    peers: () => [],
  });
  const desired = new Map<string, DesiredDrain>();
  const push = servePush({ desiredDrain: (kind, name) => desired.get(`${kind}/${name}`) ?? NO_DRAIN, views, registry, trustDomain: 'east.acme.example', mayServe, ...parts });
  const start = (port: number): Promise<RpcServer> => startRpcServer({ listen: { host: '127.0.0.1', port }, svids: fixedSvidSource(east.issue(CONTROL_PLANE)), bundles, services: [push], log: parts.log });
  let server = await start(0);
  const { port } = server;
  closers.push(async () => {
    push.close();
    await server.close(200);
  });
  const proxy = async (id: string, over: { readonly network?: string; readonly stateFile?: string; readonly maxAgeMs?: number; readonly trust?: NonNullable<SubscribeOptions['trust']>; readonly drain?: NonNullable<SubscribeOptions['drain']> } = {}): Promise<Subscription> => {
    const authority = id.includes('//west.') ? west : east;
    const channel = openChannel({
      address: `127.0.0.1:${port}`, serverName: 'control-plane.isthmus.east.acme.example', expectedId: CONTROL_PLANE,
      svids: fixedSvidSource(authority.issue(id)), bundles, log: parts.log,
    });
    const { network = 'main', ...rest } = over;
    const subscription = await subscribe({ channel, hello: { network, locality: 'eu/a' }, ...rest, ...parts });
    closers.push(async () => {
      await subscription.close();
      channel.close();
    });
    return subscription;
  };
  return {
    registry, services, exports, views, push, proxy, bundles, desired,
    setImports: (now: ImportedService[]) => {
      imports = now;
      views.changed([{ namespace: 'shop', name: 'payments' }]);
    },
    stop: () => server.close(200),
    restart: async () => {
      server = await start(port);
    },
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > end) assert.fail(`${what} did not come within 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const AGENT = 'spiffe://east.acme.example/agent/a1';
const GATEWAY = 'spiffe://east.acme.example/gateway';
const endpointsIn = (snapshot: Snapshot): string[] => {
  const view = snapshot.resources.get('service/shop/payments');
  return view?.kind === 'service' ? view.endpoints.map((e) => `${e.id} ${e.health} tier ${e.tier}`) : [];
};

test('a report of one agent becomes an endpoint for another, and its change a delta that is acknowledged', async () => {
  const plane = await openPlane();
  const [a1, a2] = [await plane.proxy(AGENT), await plane.proxy('spiffe://east.acme.example/agent/a2')];
  a1.report([aRegistration({ agent: 'a1', instance: 'p1' })]);
  await until('the endpoint', () => endpointsIn(a2.snapshot()).join() === 'east/a1.p1 healthy tier 0');
  const before = a2.status().version;
  a1.report([aRegistration({ agent: 'a1', instance: 'p1', health: 'unhealthy' })]);
  await until('the change', () => endpointsIn(a2.snapshot()).join() === 'east/a1.p1 unhealthy tier 0');
  assert.ok(a2.status().version > before);
  await until('the acknowledgements', () => plane.push.proxies().every((p) => p.sentVersion === p.ackedVersion));
});

test('a gateway sees exported services and its own cluster’s endpoints only', async () => {
  const plane = await openPlane();
  plane.services.set('shop/vault', aService({ name: 'vault' }));
  plane.setImports([anImport()]);
  const gateway = await plane.proxy(GATEWAY);
  const agent = await plane.proxy(AGENT);
  agent.report([aRegistration({ agent: 'a1', instance: 'p1' }), aRegistration({ agent: 'a1', instance: 'v1', service: 'vault' })]);
  await until('the local endpoint at the gateway', () => endpointsIn(gateway.snapshot()).length > 0);
  assert.deepEqual(endpointsIn(gateway.snapshot()), ['east/a1.p1 healthy tier 0']);
  assert.equal(gateway.snapshot().resources.has('service/shop/vault'), false);
  await until('both tiers at the agent', () => endpointsIn(agent.snapshot()).length === 2);
  assert.ok(agent.snapshot().resources.has('service/shop/vault'));
});

test('an agent and a gateway are told what is to drain, also when they come later, and their progress is known', async () => {
  const plane = await openPlane();
  const drained = { revision: 5, draining: true, workloads: [] };
  plane.desired.set('agent/a1', drained).set('gateway/gw-2', { ...drained, revision: 6 });
  const follow = async (name: string, id: string, address?: string) => {
    const follower = await openDrainFollower({ clock: systemClock, log: parts.log, address });
    follower.follow({ connections: () => 0 });
    await plane.proxy(id, { drain: { name, follower } });
    closers.push(() => follower.close());
    return follower;
  };
  const [agent, one, two] = [await follow('a1', AGENT), await follow('gw-1', GATEWAY, '192.0.2.1:1'), await follow('gw-2', GATEWAY, '192.0.2.2:1')];
  await until('the drains', () => agent.covers() && two.covers());
  const seen = (): string[] => plane.push.drains().map((d) => `${d.kind}/${d.name} ${d.state} at ${d.revision}${d.address === undefined ? '' : ` ${d.address}`}`).toSorted();
  await until('the progress', () => seen().join() === 'agent/a1 drained at 5,gateway/gw-1 serving at 0 192.0.2.1:1,gateway/gw-2 drained at 6 192.0.2.2:1');
  assert.equal(one.covers(), false, 'gateways share an ID and are told apart by name');
  plane.desired.delete('gateway/gw-2');
  plane.push.drainChanged('gateway', 'gw-2');
  await until('the end of the drain', () => seen().includes('gateway/gw-2 serving at 0 192.0.2.2:1'));
  assert.deepEqual([agent.covers(), two.covers()], [true, false]);
});

test('callers that are no proxy of this cluster are refused', async () => {
  const plane = await openPlane();
  for (const id of ['spiffe://east.acme.example/ns/shop/svc/payments', 'spiffe://west.acme.example/agent/a1']) {
    const stranger = await plane.proxy(id);
    await until('the refusal', () => stranger.status().lastError !== undefined);
    assert.equal(stranger.status().version, 0);
  }
});

test('an agent cannot report what it may not serve, nor in another agent’s name', async () => {
  const plane = await openPlane((_agent, service) => service.name !== 'payments');
  const agent = await plane.proxy(AGENT);
  agent.report([aRegistration({ agent: 'a1' })]);
  await until('the refusal', () => agent.status().reportRefused !== undefined);
  assert.deepEqual(plane.registry.list(), []);
});

test('the last good snapshot serves after a restart with the control plane away, and says its age', async () => {
  const plane = await openPlane();
  const stateFile = join(mkdtempSync(join(tmpdir(), 'isthmus-sub-')), 'last-good.json');
  plane.registry.report('a9', [aRegistration({ agent: 'a9' })], { full: true });
  const first = await plane.proxy(AGENT, { stateFile });
  await until('the endpoint', () => endpointsIn(first.snapshot()).length === 1);
  await first.close();
  assert.equal(statSync(stateFile).mode & 0o777, 0o600);
  await plane.stop();
  const again = await plane.proxy(AGENT, { stateFile });
  assert.deepEqual(endpointsIn(again.snapshot()), ['east/a9.p1 healthy tier 0']);
  assert.equal(again.status().source, 'last-good');
  assert.equal(again.status().connected, false);
});

test('a last good file that was cut short, or is too old, is not used', async () => {
  const plane = await openPlane();
  const stateFile = join(mkdtempSync(join(tmpdir(), 'isthmus-sub-')), 'last-good.json');
  plane.registry.report('a9', [aRegistration({ agent: 'a9' })], { full: true });
  const first = await plane.proxy(AGENT, { stateFile });
  await until('the endpoint', () => endpointsIn(first.snapshot()).length === 1);
  await first.close();
  await plane.stop();
  const old = await plane.proxy(AGENT, { stateFile, maxAgeMs: 0 });
  assert.deepEqual(endpointsIn(old.snapshot()), []);
  writeFileSync(stateFile, readFileSync(stateFile).subarray(0, 100));
  const cut = await plane.proxy(AGENT, { stateFile });
  assert.deepEqual(endpointsIn(cut.snapshot()), []);
});

test('a control plane that restarts is found again; the snapshot stays in force meanwhile', async () => {
  const plane = await openPlane();
  const agent = await plane.proxy(AGENT);
  agent.report([aRegistration({ agent: 'a1', instance: 'p1' })]);
  await until('the endpoint', () => endpointsIn(agent.snapshot()).length === 1);
  await plane.stop();
  await until('the loss', () => !agent.status().connected);
  assert.equal(endpointsIn(agent.snapshot()).length, 1);
  await plane.restart();
  await until('the return', () => agent.status().connected);
  agent.report([]);
  await until('the change after it', () => endpointsIn(agent.snapshot()).length === 0);
});

/** A proxy's trust: what is in force in `held`, and the hints it got. */
function aTrust(name: string, held: Record<string, number>) {
  const listeners = new Set<() => void>();
  const hints: RenewHint[] = [];
  const live = [{ rootSha256: 'ab'.repeat(32), expiresAtMs: 1_000 }];
  return {
    hints,
    tell: () => {
      for (const fn of listeners) fn();
    },
    options: {
      name,
      trustFacts: () => ({ held: { ...held }, live }),
      onTrust: (fn: () => void) => (listeners.add(fn), () => listeners.delete(fn)),
      takeHint: (hint: RenewHint) => void hints.push(hint),
    },
  };
}

test('a proxy acknowledges a bundle once it is on disk, never a higher one than that; gone, it stays as it was, not connected', async () => {
  const plane = await openPlane();
  const stateFile = join(mkdtempSync(join(tmpdir(), 'isthmus-trust-')), 'last-good.json');
  const inForce: Record<string, number> = { 'east.acme.example': east.bundle.sequence, 'west.acme.example': 99 };
  const trust = aTrust('a1', inForce);
  const subscription = await plane.proxy('spiffe://east.acme.example/agent/a1', { stateFile, trust: trust.options });
  await until('both bundles are acknowledged', () => Object.keys(plane.push.trust()[0]?.facts.held ?? {}).length === 2);
  assert.deepEqual(plane.push.trust().map((t) => [t.kind, t.name, t.isConnected, t.facts.held]), [
    ['agent', 'a1', true, { 'east.acme.example': east.bundle.sequence, 'west.acme.example': west.bundle.sequence }],
  ]);
  assert.match(readFileSync(stateFile, 'utf8'), /west\.acme\.example/);
  inForce['east.acme.example'] = east.bundle.sequence + 9;
  plane.bundles.update({ ...east.bundle, sequence: east.bundle.sequence + 1 });
  await until('the next one is acknowledged', () => plane.push.trust()[0]?.facts.held['east.acme.example'] === east.bundle.sequence + 1);
  await subscription.close();
  await until('it is gone', () => plane.push.trust()[0]?.isConnected === false);
  assert.equal(plane.push.trust()[0]?.facts.held['east.acme.example'], east.bundle.sequence + 1);
});

test('an agent tells under its proven name, a gateway under the one it gives, and another form of name ends the stream', async () => {
  const plane = await openPlane();
  await plane.proxy('spiffe://east.acme.example/agent/a1', { trust: aTrust('another', {}).options });
  await plane.proxy('spiffe://east.acme.example/gateway', { trust: aTrust('gw-1', {}).options });
  await until('both told', () => plane.push.trust().length === 2);
  assert.deepEqual(plane.push.trust().map((t) => `${t.kind}/${t.name}`).toSorted(), ['agent/a1', 'gateway/gw-1']);
  const bad = await plane.proxy('spiffe://east.acme.example/gateway', { trust: aTrust('../x', {}).options });
  await until('it is told so', () => /trust is not taken/.test(bad.status().lastError ?? ''));
});

test('roots on their way out are told to who is there and to who comes later', async () => {
  const plane = await openPlane();
  const [early, late] = [aTrust('a1', {}), aTrust('a2', {})];
  await plane.proxy('spiffe://east.acme.example/agent/a1', { trust: early.options });
  await until('it told', () => plane.push.trust().length === 1);
  const hint = { retiring: ['cd'.repeat(32)], revoked: ['ef'.repeat(32)], spreadMs: 7 };
  plane.push.hint(hint);
  await plane.proxy('spiffe://east.acme.example/agent/a2', { trust: late.options });
  await until('both have it', () => early.hints.length === 1 && late.hints.length === 1);
  assert.deepEqual([early.hints[0], late.hints[0]], [hint, hint]);
});
