import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '@isthmus/decide';
import { resourceName, type ServiceView, type Snapshot } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { departedEndpoints, Departures, reachableTargets, targetKey } from './departures.ts';

const SERVICE = 'shop/payments';
const a = anEndpoint({ id: 'a', ports: { http: 1, grpc: 2 } });
const snapshotOf = (...views: ServiceView[]): Snapshot => ({ version: 1, resources: new Map(views.map((v) => [resourceName(v), v])) });
const both = snapshotOf(aServiceView({ endpoints: [a, anEndpoint({ id: 'b', ports: { http: 3 } })] }));
const onlyB = snapshotOf(aServiceView({ endpoints: [anEndpoint({ id: 'b', ports: { http: 3 } })] }));
const toA = { service: SERVICE, target: targetKey({ id: 'a', host: '127.0.0.1', port: 1 }) };
const toB = { service: SERVICE, target: targetKey({ id: 'b', host: '127.0.0.1', port: 3 }) };

function withBoth(): Departures<typeof toA> {
  const departures = new Departures<typeof toA>(100);
  departures.add(toA);
  departures.add(toB);
  return departures;
}

test('every port of every endpoint is reachable; nothing of a service that is gone or exported no more', () => {
  assert.equal(reachableTargets(both, SERVICE).size, 3);
  assert.equal(reachableTargets(snapshotOf(), SERVICE).size, 0);
  assert.equal(reachableTargets(snapshotOf(aServiceView({ exported: false })), SERVICE).size, 0);
});

test('endpoints that changed services had and have no more have departed', () => {
  const [before, after] = [compile(both), compile(onlyB)];
  assert.deepEqual(departedEndpoints(before, after, ['service/shop/payments', 'bundle/x', 'service/shop/unknown']), ['a']);
  assert.deepEqual(departedEndpoints(before, compile(snapshotOf()), ['service/shop/payments']), ['a', 'b']);
  assert.deepEqual(departedEndpoints(before, after, []), []);
});

test('a connection to an endpoint that left is due after the limit, and given once; others never', () => {
  const departures = withBoth();
  departures.changed(both, ['service/shop/payments'], 0);
  assert.equal(departures.nextDeadlineMs(), undefined);
  departures.changed(onlyB, ['service/shop/payments'], 10);
  assert.equal(departures.nextDeadlineMs(), 110);
  assert.deepEqual(departures.takeDue(109), []);
  departures.changed(onlyB, ['service/shop/payments'], 50);
  assert.deepEqual(departures.takeDue(110), [toA], 'a later change does not put it off');
  assert.deepEqual(departures.takeDue(999), []);
});

test('an endpoint that comes back in time keeps its connections', () => {
  const departures = withBoth();
  departures.changed(onlyB, ['service/shop/payments'], 0);
  departures.changed(both, ['service/shop/payments'], 50);
  assert.equal(departures.nextDeadlineMs(), undefined);
});

test('an endpoint at another address under the same id is another one', () => {
  const departures = withBoth();
  departures.changed(snapshotOf(aServiceView({ endpoints: [{ ...a, host: '127.0.0.2' }, anEndpoint({ id: 'b', ports: { http: 3 } })] })), ['service/shop/payments'], 0);
  assert.deepEqual(departures.takeDue(100), [toA]);
});

test('changes of other resources, and connections that are over, are nothing to it', () => {
  const departures = withBoth();
  departures.changed(onlyB, ['service/shop/other', 'bundle/x'], 0);
  assert.equal(departures.nextDeadlineMs(), undefined);
  departures.delete(toA);
  departures.changed(onlyB, ['service/shop/payments'], 0);
  assert.equal(departures.nextDeadlineMs(), undefined);
});
