import assert from 'node:assert/strict';
import test from 'node:test';
import { distance, formatLocality, NOWHERE, parseLocality } from './locality.ts';

test('a place is region, zone and sub-zone, and reads back', () => {
  assert.deepEqual(parseLocality('eu/a/rack-1'), { region: 'eu', zone: 'a', subZone: 'rack-1' });
  assert.deepEqual(parseLocality(''), NOWHERE);
  for (const text of ['eu', 'eu/a', 'eu/a/rack-1', '']) assert.equal(formatLocality(parseLocality(text)), text);
});

test('nearness goes by sub-zone, zone and region, the same both ways', () => {
  const far = (a: string, b: string): number => {
    assert.equal(distance(parseLocality(a), parseLocality(b)), distance(parseLocality(b), parseLocality(a)));
    return distance(parseLocality(a), parseLocality(b));
  };
  assert.equal(far('eu/a/1', 'eu/a/1'), 0);
  assert.equal(far('eu/a', 'eu/a'), 0);
  assert.equal(far('eu/a/1', 'eu/a/2'), 1);
  assert.equal(far('eu/a', 'eu/b'), 2);
  assert.equal(far('eu/a', 'us/a'), 3);
  assert.equal(far('', ''), 3, 'nowhere is near nothing, not even nowhere');
});
