import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBundleSet } from './bundle-set.ts';
import { testAuthority } from './testing.ts';

const east = testAuthority();
const west = testAuthority({ cluster: 'west', root: east.root });

test('a bundle set never goes back in sequence, and tells of changes', () => {
  const set = openBundleSet([{ ...east.bundle, sequence: 5 }]);
  let told = 0;
  const stop = set.onChange(() => (told += 1));
  assert.equal(set.update({ ...east.bundle, sequence: 4, x509Authorities: [] }), false);
  assert.equal(set.update({ ...east.bundle, sequence: 5, x509Authorities: [] }), false);
  assert.equal(set.get('east.acme.example')?.x509Authorities.length, 1);
  assert.equal(told, 0);
  assert.equal(set.update({ ...east.bundle, sequence: 6 }), true);
  assert.equal(set.update(west.bundle), true);
  stop();
  set.remove('west.acme.example');
  assert.deepEqual([told, set.all().map((b) => b.trustDomain)], [2, ['east.acme.example']]);
});

test('of two bundles it begins with for one domain, the higher sequence stays', () => {
  const set = openBundleSet([{ ...east.bundle, sequence: 7 }, { ...east.bundle, sequence: 3 }]);
  assert.equal(set.get('east.acme.example')?.sequence, 7);
});

test('bundles of two domains are kept apart', () => {
  const set = openBundleSet([east.bundle, { ...west.bundle, x509Authorities: [] }]);
  assert.deepEqual([set.get('east.acme.example'), set.get('west.acme.example')?.x509Authorities, set.get('acme.example')], [east.bundle, [], undefined]);
});
