import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { editDistance, suggest } from './suggest.ts';

test('distances count insertions, deletions, replacements and swaps', () => {
  for (const [a, b, distance] of [['', '', 0], ['a', '', 1], ['port', 'prot', 1], ['listen', 'lisen', 1], ['kitten', 'sitting', 3], ['host', 'post', 1]] as const) {
    assert.equal(editDistance(a, b), distance, `${a} ${b}`);
  }
});

test('a distance is the same both ways, and zero only for equal texts', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
    }),
  );
});

test('a near name is suggested in its own spelling, a far one is not', () => {
  assert.equal(suggest('statedir', ['listen', 'stateDir']), ' (did you mean stateDir?)');
  assert.equal(suggest('colour', ['listen', 'stateDir']), '');
  assert.equal(suggest('x', []), '');
});
