// Keys and ranges: what lies inside what.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isInside, keys, peerRanges, prefixRange } from './keys.ts';

test('each kind of key has its one place', () => {
  assert.deepEqual(
    [
      keys.resource('service', 'shop', 'payments'),
      keys.workload('shop', 'payments', 'vm-1.a'),
      keys.sharedCluster(),
      keys.sharedExport('all', 'shop', 'payments'),
      keys.sharedExport('west', 'shop', 'payments'),
      keys.peer('east', keys.sharedExport('all', 'shop', 'payments')),
      keys.peer('east', keys.sharedCluster()),
      keys.member('east'),
      keys.joinToken('0123456789ab'),
      keys.entry('agent', 'vm-1'),
      keys.usedEvidence('jwt', 'ab12'),
      keys.usedEvidence('jwt'),
      keys.attestedInstance('i-0123'),
      keys.serialChain('vm-1'),
    ],
    [
      'resources/service/shop/payments',
      'workloads/shop/payments/vm-1.a',
      'shared/cluster',
      'shared/all/exports/shop/payments',
      'shared/to/west/exports/shop/payments',
      'peers/east/all/exports/shop/payments',
      'peers/east/cluster',
      'members/east',
      'join-tokens/0123456789ab',
      'entries/agent/vm-1',
      'used-evidence/jwt/ab12',
      'used-evidence/jwt/',
      'attested-instances/i-0123',
      'serial-chains/vm-1',
    ],
  );
});

test('a name cannot reach into another place', () => {
  for (const bad of ['', 'a/b', '..', '../x', 'a\0b', 'a b', '-a', 'x'.repeat(254)]) {
    assert.throws(() => keys.resource('service', 'shop', bad), { code: 'STORE_KEY_INVALID' }, JSON.stringify(bad));
  }
  assert.throws(() => keys.peer('east', 'resources/service/a/b'), { code: 'STORE_KEY_INVALID' });
  assert.throws(() => keys.peer('east', 'shared/../members'), { code: 'STORE_KEY_INVALID' });
});

test('the range of a prefix ends after its last key', () => {
  const end = (text: string): string => prefixRange(text).rangeEnd.toString('latin1');
  assert.deepEqual([end('a/'), end(''), prefixRange('').key], ['a0', '\0', Buffer.from([0])]);
});

const range = (key: string, rangeEnd = ''): { key: Buffer; rangeEnd: Buffer } => ({ key: Buffer.from(key, 'latin1'), rangeEnd: Buffer.from(rangeEnd, 'latin1') });
const cases: readonly [string, ReturnType<typeof range>, boolean][] = [
  ['the cluster record', range('/isthmus/v1/shared/cluster'), true],
  ['what is for all', range('/isthmus/v1/shared/all/', '/isthmus/v1/shared/all0'), true],
  ['one key for all', range('/isthmus/v1/shared/all/exports/a/b'), true],
  ['what is for west', range('/isthmus/v1/shared/to/west/', '/isthmus/v1/shared/to/west0'), true],
  ['what is for another', range('/isthmus/v1/shared/to/north/', '/isthmus/v1/shared/to/north0'), false],
  ['a cluster whose name begins alike', range('/isthmus/v1/shared/to/west-2/exports/a/b'), false],
  ['the cluster record as a range', range('/isthmus/v1/shared/cluster', '/isthmus/v1/shared/cluster\0'), false],
  ['all that is shared', range('/isthmus/v1/shared/', '/isthmus/v1/shared0'), false],
  ['a range that begins inside and ends outside', range('/isthmus/v1/shared/all/', '/isthmus/v1/shared/b'), false],
  ['a range that begins outside and ends inside', range('/isthmus/v1/shared/a', '/isthmus/v1/shared/all/x'), false],
  ['from inside to the end of all keys', range('/isthmus/v1/shared/all/', '\0'), false],
  ['everything', range('\0', '\0'), false],
  ['the end of a range, which is not in it', range('/isthmus/v1/shared/all0'), false],
];
for (const [name, asked, expected] of cases) {
  test(`a peer ${expected ? 'may' : 'may not'} read ${name}`, () => {
    assert.equal(peerRanges('/isthmus/v1/', 'west').some((allowed) => isInside(asked, allowed)), expected);
  });
}
