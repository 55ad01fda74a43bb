import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { diffLines } from './resource.ts';

test('a difference keeps what both have, and says what goes and comes', () => {
  assert.deepEqual(diffLines('a\nb\nc\n', 'a\nx\nc\nd\n'), ['  a', '- b', '+ x', '  c', '+ d']);
  assert.deepEqual(diffLines('', 'a\n'), ['+ a']);
});

test('from the lines of a difference both sides can be had back', () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', '- d'), { minLength: 1, maxLength: 12 });
  fc.assert(fc.property(text, text, (before, after) => {
    const lines = diffLines(`${before.join('\n')}\n`, `${after.join('\n')}\n`);
    assert.deepEqual(lines.filter((l) => !l.startsWith('+')).map((l) => l.slice(2)), before);
    assert.deepEqual(lines.filter((l) => !l.startsWith('-')).map((l) => l.slice(2)), after);
  }));
});
