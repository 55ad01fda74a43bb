import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Endpoint, Export, ServiceView } from '@isthmus/model';
import { aService } from '@isthmus/model/testing';
import { anImport, aRegistration } from './testing.ts';
import { buildServiceView, type OwnCluster, type ProxyPlace, type ServiceFacts, splitHostPort } from './view.ts';

const EAST: OwnCluster = { cluster: 'east', trustDomain: 'east.acme.example', locality: 'eu/a', gateways: ['192.0.2.9:15443'] };
const AGENT: ProxyPlace = { kind: 'agent', network: 'main', locality: 'eu/a/r1' };
const GATEWAY: ProxyPlace = { kind: 'gateway', network: '', locality: '' };
const EXPORT: Export = { kind: 'export', namespace: 'shop', name: 'payments', consumers: 'all' };

function facts(over: Partial<ServiceFacts> = {}): ServiceFacts {
  return { name: { namespace: 'shop', name: 'payments' }, declared: aService(), exported: EXPORT, workloads: [], imports: [], hasBundle: () => true, ...over };
}

function view(over: Partial<ServiceFacts>, place: ProxyPlace = AGENT, own: OwnCluster = EAST): ServiceView {
  const built = buildServiceView(own, facts(over), place);
  assert.ok(built);
  return built;
}

const brief = (e: Endpoint): string => `${e.tier} ${e.id}`;

describe('tiers', () => {
  const far = aRegistration({ agent: 'a4', locality: 'us/z' });
  const region = aRegistration({ agent: 'a3', locality: 'eu/b' });
  const zone = aRegistration({ agent: 'a2', locality: 'eu/a/r2' });
  const near = aRegistration({ agent: 'a1' });
  const rows: readonly { readonly name: string; readonly over: Partial<ServiceFacts>; readonly expect: readonly string[] }[] = [
    {
      name: 'the own cluster goes by sub-zone, zone, region, elsewhere',
      over: { workloads: [far, region, zone, near] },
      expect: ['0 east/a1.p1', '1 east/a2.p1', '2 east/a3.p1', '3 east/a4.p1'],
    },
    { name: 'levels nobody stands on leave no gap', over: { workloads: [far, near] }, expect: ['0 east/a1.p1', '1 east/a4.p1'] },
    {
      name: 'another cluster next door comes after the farthest of the own',
      over: { workloads: [far], imports: [anImport({ locality: 'eu/a/r1' })] },
      expect: ['0 east/a4.p1', '1 west/gateway/192.0.2.1:15443'],
    },
    {
      name: 'other clusters go by their locality',
      over: { imports: [anImport({ cluster: 'west', locality: 'us/a' }), anImport({ cluster: 'north', locality: 'eu/b' })] },
      expect: ['0 north/gateway/192.0.2.1:15443', '1 west/gateway/192.0.2.1:15443'],
    },
    {
      name: 'a stale peer keeps its place',
      over: { imports: [anImport({ cluster: 'west', locality: 'us/a' }), anImport({ cluster: 'north', locality: 'eu/b', state: 'stale' })] },
      expect: ['0 north/gateway/192.0.2.1:15443', '1 west/gateway/192.0.2.1:15443'],
    },
    {
      name: 'a peer presumed dead goes last but stays',
      over: { imports: [anImport({ cluster: 'west', locality: 'us/a' }), anImport({ cluster: 'north', locality: 'eu/a/r1', state: 'presumed-dead' })] },
      expect: ['0 west/gateway/192.0.2.1:15443', '1 north/gateway/192.0.2.1:15443'],
    },
    { name: 'a fenced peer is not there', over: { imports: [anImport({ state: 'fenced' })] }, expect: [] },
    { name: 'clusters equally far share a tier', over: { imports: [anImport({ cluster: 'a' }), anImport({ cluster: 'b' })] }, expect: ['0 a/gateway/192.0.2.1:15443', '0 b/gateway/192.0.2.1:15443'] },
  ];
  for (const { name, over, expect } of rows) test(name, () => assert.deepEqual(view(over).endpoints.map(brief), expect));

  test('the order of arrival does not show', () => {
    const a = view({ workloads: [far, near, zone], imports: [anImport({ cluster: 'x' }), anImport({ cluster: 'y' })] });
    const b = view({ workloads: [zone, far, near], imports: [anImport({ cluster: 'y' }), anImport({ cluster: 'x' })] });
    assert.equal(JSON.stringify(a), JSON.stringify(b));
  });
});

describe('endpoints of the own cluster', () => {
  test('in the agent’s network they are reached directly, with the identity of the service', () => {
    assert.deepEqual(view({ workloads: [aRegistration()] }).endpoints, [
      {
        id: 'east/a1.p1',
        cluster: 'east',
        trustDomain: 'east.acme.example',
        host: '10.0.0.1',
        ports: { http: 15_001 },
        spiffeId: 'spiffe://east.acme.example/ns/shop/svc/payments',
        locality: 'eu/a/r1',
        weight: 100,
        health: 'healthy',
        tier: 0,
        viaGateway: false,
      },
    ]);
  });

  test('in another network they stand behind the own gateways, with the weight of the healthy ones split', () => {
    const elsewhere = [
      aRegistration({ agent: 'b1', network: 'vms', weight: 70 }),
      aRegistration({ agent: 'b2', network: 'vms', weight: 31 }),
      aRegistration({ agent: 'b3', network: 'vms', weight: 500, health: 'unhealthy' }),
    ];
    const { endpoints } = view({ workloads: elsewhere }, AGENT, { ...EAST, gateways: ['192.0.2.9:15443', '192.0.2.8:15443'] });
    assert.deepEqual(
      endpoints.map((e) => [e.id, e.weight, e.viaGateway, e.ports]),
      [
        ['east/gateway/192.0.2.8:15443', 51, true, { http: 15_443 }],
        ['east/gateway/192.0.2.9:15443', 50, true, { http: 15_443 }],
      ],
    );
  });

  test('in another network and not exported they are out of reach', () => {
    assert.deepEqual(view({ exported: undefined, workloads: [aRegistration({ network: 'vms' })] }).endpoints, []);
  });

  for (const [health, shown] of [['unknown', 'unhealthy'], ['unhealthy', 'unhealthy'], ['draining', 'draining'], ['healthy', 'healthy']] as const) {
    test(`a workload whose health is ${health} is listed as ${shown}`, () => {
      assert.deepEqual(view({ workloads: [aRegistration({ health })] }).endpoints.map((e) => e.health), [shown]);
    });
  }
});

describe('imports', () => {
  test('are one endpoint a gateway, with what is ready there split over them', () => {
    const { endpoints } = view({ imports: [anImport({ gateways: ['gw.west.example:443', '[2001:db8::1]:15443'], readyWeight: 5 })] });
    assert.deepEqual(
      endpoints.map((e) => [e.host, e.ports, e.weight, e.health, e.spiffeId]),
      [
        ['2001:db8::1', { http: 15_443 }, 3, 'healthy', 'spiffe://west.acme.example/ns/shop/svc/payments'],
        ['gw.west.example', { http: 443 }, 2, 'healthy', 'spiffe://west.acme.example/ns/shop/svc/payments'],
      ],
    );
  });

  test('with nothing ready are listed, unhealthy', () => {
    assert.deepEqual(view({ imports: [anImport({ readyCount: 0, readyWeight: 0 })] }).endpoints.map((e) => [e.health, e.weight]), [['unhealthy', 0]]);
  });

  test('with less weight than gateways leave no gateway without a chance', () => {
    const gateways = ['192.0.2.1:1', '192.0.2.2:1', '192.0.2.3:1'];
    assert.deepEqual(view({ imports: [anImport({ gateways, readyWeight: 1 })] }).endpoints.map((e) => e.weight), [1, 1, 1]);
  });

  test('of a trust domain without a bundle are left out, so that the snapshot as a whole holds', () => {
    const imports = [anImport({ cluster: 'west' }), anImport({ cluster: 'north', trustDomain: 'north.acme.example' })];
    assert.deepEqual(view({ imports, hasBundle: (td) => td !== 'north.acme.example' }).endpoints.map((e) => e.cluster), ['west']);
  });

  test('give a service nobody declared here its ports, those of the oldest export', () => {
    const young = anImport({ cluster: 'a', exportedAtMs: 2_000, ports: [{ name: 'http', port: 1, protocol: 'http' }] });
    const old = anImport({ cluster: 'z', exportedAtMs: 1_000, ports: [{ name: 'http', port: 2, protocol: 'http' }] });
    const unsaid = anImport({ cluster: 'b', ports: [{ name: 'http', port: 3, protocol: 'http' }] });
    for (const imports of [[young, old, unsaid], [unsaid, old, young]]) assert.deepEqual(view({ declared: undefined, exported: undefined, imports }).ports.map((p) => p.port), [2]);
  });

  test('give a service nobody declared here its ports, those of the cluster whose name comes first', () => {
    const imports = [
      anImport({ cluster: 'west', ports: [{ name: 'http', port: 2, protocol: 'http' }] }),
      anImport({ cluster: 'north', ports: [{ name: 'http', port: 1, protocol: 'tcp' }] }),
    ];
    assert.deepEqual(view({ declared: undefined, exported: undefined, imports }).ports, [{ name: 'http', port: 1, protocol: 'tcp' }]);
  });

  test('do not change the ports of a service declared here', () => {
    assert.deepEqual(view({ imports: [anImport({ cluster: 'a', ports: [{ name: 'http', port: 1, protocol: 'tcp' }] })] }).ports, aService().ports);
  });

  test('that claim to be of the own cluster are not taken', () => {
    assert.deepEqual(view({ imports: [anImport({ cluster: 'east' })] }).endpoints, []);
  });
});

describe('a gateway', () => {
  test('sees its own cluster’s endpoints of every network directly, in one tier, and no imports', () => {
    const workloads = [aRegistration({ agent: 'a1' }), aRegistration({ agent: 'b1', network: 'vms', locality: 'us/z' })];
    const { endpoints } = view({ workloads, imports: [anImport()] }, GATEWAY);
    assert.deepEqual(endpoints.map((e) => [brief(e), e.viaGateway]), [['0 east/a1.p1', false], ['0 east/b1.p1', false]]);
  });

  test('does not see what is not exported', () => {
    assert.equal(buildServiceView(EAST, facts({ exported: undefined, workloads: [aRegistration()] }), GATEWAY), undefined);
  });

  test('does not see what other clusters offer', () => {
    assert.equal(buildServiceView(EAST, facts({ declared: undefined, imports: [anImport()] }), GATEWAY), undefined);
  });
});

test('a service neither declared here nor offered by others does not exist', () => {
  assert.equal(buildServiceView(EAST, facts({ declared: undefined, workloads: [aRegistration()] }), AGENT), undefined);
});

test('addresses of gateways are split for names, v4 and v6 alike', () => {
  assert.deepEqual(splitHostPort('gw.example:443'), { host: 'gw.example', port: 443 });
  assert.deepEqual(splitHostPort('[::1]:443'), { host: '::1', port: 443 });
  for (const bad of ['gw.example', ':443', 'gw:0', 'gw:70000', 'gw:x']) assert.equal(splitHostPort(bad), undefined, bad);
});

describe('a service that asks for layer 7', () => {
  const ports = [{ name: 'http', port: 80, protocol: 'http' as const }, { name: 'raw', port: 81, protocol: 'tcp' as const }];
  const asks: Export = { ...EXPORT, gateway: { layer: 7 } };

  test('elsewhere is expected to be the gateway itself, but at its tcp ports the workload', () => {
    const { endpoints } = view({ declared: undefined, exported: undefined, imports: [anImport({ ports, gatewayLayer: 7 })] });
    assert.equal(endpoints.length, 2);
    const [http, raw] = [endpoints.find((e) => e.ports['http'] !== undefined), endpoints.find((e) => e.ports['raw'] !== undefined)];
    assert.match(http?.spiffeId ?? '', /^spiffe:[/][/][^/]+[/]gateway$/);
    assert.match(raw?.spiffeId ?? '', /[/]ns[/]shop[/]svc[/]/);
    assert.deepEqual([Object.keys(http?.ports ?? {}), Object.keys(raw?.ports ?? {})], [['http'], ['raw']]);
  });

  test('is told to the gateway, whose endpoints stay the workloads', () => {
    const seen = view({ exported: asks, workloads: [aRegistration()] }, GATEWAY);
    assert.equal(seen.gatewayLayer, 7);
    assert.ok(seen.endpoints.every((e) => e.spiffeId.endsWith('/ns/shop/svc/payments')));
    assert.equal(view({ exported: EXPORT, workloads: [aRegistration()] }, GATEWAY).gatewayLayer, undefined);
  });
});
