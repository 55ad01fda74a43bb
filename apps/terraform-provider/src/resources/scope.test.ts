import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openApi } from '../connection/api.ts';
import { UNKNOWN_NOT_NULL } from '../protocol/value.ts';
import { clusterProblems, importParts, withCluster } from './scope.ts';

const apiOf = (cluster: string | undefined) => openApi({ endpoints: [], federation: undefined, cluster, caPem: undefined, clientCertPem: undefined, clientKeyPem: undefined, token: undefined, trustRootSocket: undefined }, { clock: systemClock, random: systemRandom });

test('an ID names its parts, with the provider’s cluster where it names none', () => {
  const named = { cluster: 'west', namespace: 'shop', name: 'a' };
  assert.deepEqual(importParts('west/shop/a', ['namespace', 'name'], apiOf('east')), named);
  assert.deepEqual(importParts('shop/a', ['namespace', 'name'], apiOf('west')), named);
  for (const id of ['a', '', 'x/west/shop/a', 'west//a', '/shop/a']) assert.throws(() => importParts(id, ['namespace', 'name'], apiOf('east')), { code: 'TERRAFORM_ID_INVALID', message: /cluster\/namespace\/name/ });
  assert.throws(() => importParts('shop/a', ['namespace', 'name'], apiOf(undefined)), { code: 'TERRAFORM_ID_INVALID' });
});

test('a thing without a cluster is the provider’s, which may not be known yet or not be there', () => {
  const proposed = { cluster: null, name: 'a' };
  assert.deepEqual(withCluster(apiOf('east'), proposed, proposed).state, { cluster: 'east', name: 'a' });
  assert.deepEqual(withCluster(apiOf('east'), { cluster: 'west' }, { cluster: 'west' }).state, { cluster: 'west' });
  assert.deepEqual(withCluster(undefined, proposed, proposed).state, { cluster: UNKNOWN_NOT_NULL, name: 'a' });
  assert.deepEqual(withCluster(apiOf(undefined), proposed, proposed).problems.map((p) => p.path), ['cluster']);
  assert.deepEqual(clusterProblems({ cluster: 'No' }).map((p) => p.path), ['cluster']);
});
