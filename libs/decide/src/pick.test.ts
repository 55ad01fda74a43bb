import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Endpoint } from '@isthmus/model';
import { anEndpoint } from '@isthmus/model/testing';
import { explainPick, type Pick, pickFrom, tiersOf } from './pick.ts';

const none = { exclude: new Set<string>(), unavailable: () => false, port: 'http' };

function pick(endpoints: readonly Endpoint[], over: Partial<Parameters<typeof pickFrom>[0]> = {}): Pick {
  return pickFrom({ ...none, random: () => 0.5, tiers: tiersOf(endpoints), ...over });
}

function idOf(picked: Pick): string {
  return picked.kind === 'forward' ? picked.endpoint.id : picked.reason;
}

const local = (n: number, over: Partial<Endpoint> = {}): Endpoint => anEndpoint({ id: `east/${n}`, ...over });
const remote = (over: Partial<Endpoint> = {}): Endpoint => anEndpoint({ id: 'west/gateway', cluster: 'west', tier: 1, viaGateway: true, ...over });

test('a nearer tier is used until its last healthy endpoint is gone', () => {
  assert.equal(idOf(pick([local(1, { health: 'unhealthy' }), local(2), remote()])), 'east/2');
  assert.equal(idOf(pick([local(1, { health: 'unhealthy' }), local(2, { health: 'unhealthy' }), remote()])), 'west/gateway');
});

test('an endpoint tried or ejected is passed over, first inside the tier, then beyond it', () => {
  assert.equal(idOf(pick([local(1), local(2), remote()], { exclude: new Set(['east/1']) })), 'east/2');
  assert.equal(idOf(pick([local(1), local(2), remote()], { exclude: new Set(['east/1']), unavailable: (id) => id === 'east/2' })), 'west/gateway');
});

test('draining endpoints serve only when no healthy one is left anywhere', () => {
  assert.equal(idOf(pick([local(1, { health: 'draining' }), remote()])), 'west/gateway');
  assert.equal(idOf(pick([local(1, { health: 'draining' }), remote({ health: 'unhealthy' })])), 'east/1');
});

test('unhealthy endpoints are never picked: the caller is told UH', () => {
  assert.equal(idOf(pick([local(1, { health: 'unhealthy' }), remote({ health: 'unhealthy' })])), 'UH');
});

test('a port no endpoint has is NR', () => {
  assert.equal(idOf(pick([local(1)], { port: 'admin' })), 'NR');
});

test('weights share a tier out in proportion', () => {
  const endpoints = [local(1, { weight: 300 }), local(2, { weight: 100 })];
  let first = 0;
  for (let i = 0; i < 1_000; i++) if (idOf(pick(endpoints, { random: () => i / 1_000 })) === 'east/1') first += 1;
  assert.equal(first, 750);
});

test('with overprovisioning a tier that is half down gives away its share', () => {
  const endpoints = [local(1), local(2, { health: 'unhealthy' }), remote()];
  const picked = Array.from({ length: 100 }, (_, i) => idOf(pick(endpoints, { overprovisioningPercent: 140, random: () => i / 100 })));
  assert.equal(picked.filter((id) => id === 'east/1').length, 70);
  assert.equal(picked.filter((id) => id === 'west/gateway').length, 30);
});

test('a weight of 0 is picked only where all are 0, also when chance is at its end', () => {
  assert.equal(idOf(pick([local(1), local(2, { weight: 0 })], { random: () => 1 })), 'east/1');
  assert.equal(idOf(pick([local(1, { weight: 0 }), local(2, { weight: 0 })], { random: () => 0.9 })), 'east/2');
});

test('an explanation says what stands for or against each endpoint, and ends in the same pick', () => {
  const endpoints = [
    local(1, { health: 'unhealthy' }),
    local(2),
    local(3),
    local(4, { health: 'draining' }),
    local(5, { ports: { admin: 1 } }),
    remote(),
  ];
  const request = { ...none, random: () => 0.5, tiers: tiersOf(endpoints), exclude: new Set(['east/2']), unavailable: (id: string) => id === 'east/3' };
  const explained = explainPick(request);
  assert.deepEqual(explained.pick, pickFrom(request));
  assert.equal(idOf(explained.pick), 'west/gateway');
  assert.deepEqual(explained.tiers.map((t) => [t.tier, t.loadPercent, t.endpoints.map((e) => e.standing)]), [
    [0, 0, ['unhealthy', 'tried', 'ejected', 'draining', 'no-port']],
    [1, 100, ['fit']],
  ]);
});

test('an explanation of what only draining endpoints can take shows where it goes', () => {
  const { pick: picked, tiers } = explainPick({ ...none, random: () => 0.5, tiers: tiersOf([local(1, { health: 'draining' }), remote({ health: 'unhealthy' })]) });
  assert.equal(idOf(picked), 'east/1');
  assert.deepEqual(tiers.map((t) => t.loadPercent), [100, 0]);
});

const anyEndpoint = fc.record({
  id: fc.string({ minLength: 1, maxLength: 4 }),
  tier: fc.nat(3),
  weight: fc.nat(100),
  health: fc.constantFrom('healthy', 'unhealthy', 'draining') as fc.Arbitrary<Endpoint['health']>,
});

test('whatever the endpoints, a pick is fit and no fitter tier was passed over', () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyEndpoint, { selector: (e) => e.id, maxLength: 12 }), fc.array(fc.string({ maxLength: 4 })), fc.double({ min: 0, max: 0.999, noNaN: true }), (partial, tried, at) => {
      const endpoints = partial.map((e) => anEndpoint(e));
      const exclude = new Set(tried);
      const picked = pick(endpoints, { exclude, random: () => at });
      const fit = endpoints.filter((e) => !exclude.has(e.id) && e.health !== 'unhealthy');
      if (picked.kind === 'reject') return fit.length === 0;
      const rank = (e: Endpoint): number => (e.health === 'healthy' ? 0 : 10) + e.tier;
      return fit.includes(picked.endpoint) && fit.every((e) => rank(e) >= rank(picked.endpoint));
    }),
  );
});
