import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SpiffeId } from '@isthmus/model';
import { callingCluster } from './caller.ts';

const members = [{ cluster: 'west', trustDomain: 'west.acme.example', locality: '', gateways: [] }];

test('the door knows a member by its control plane alone', () => {
  const as = (id: string) => callingCluster(id as SpiffeId, members);
  assert.deepEqual(as('spiffe://west.acme.example/control-plane'), { cluster: 'west' });
  assert.equal(as('spiffe://west.acme.example/agent/a'), undefined);
  assert.equal(as('spiffe://west.acme.example/gateway'), undefined);
  assert.equal(as('spiffe://north.acme.example/control-plane'), undefined);
  assert.equal(as('spiffe://west.acme.example/ns/shop/svc/control-plane'), undefined);
});
