// The bar of long work.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBar } from './bar.ts';

test('a bar is empty, half, whole, and never longer than that', () => {
  assert.equal(formatBar(0, 4), `${'░'.repeat(24)} 0 of 4`);
  assert.equal(formatBar(2, 4), `${'█'.repeat(12)}${'░'.repeat(12)} 2 of 4`);
  assert.equal(formatBar(9, 4), `${'█'.repeat(24)} 9 of 4`);
  assert.equal(formatBar(0, 0), `${'█'.repeat(24)} 0 of 0`);
});
