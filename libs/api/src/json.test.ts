import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MAX_DEPTH, parseStrictJson } from './json.ts';

const FORBIDDEN = /"(__proto__|constructor|prototype)":/;

test('JSON without doubled keys parses to what JSON.parse makes of it', () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
    const text = JSON.stringify(value);
    fc.pre(!FORBIDDEN.test(text));
    assert.deepEqual(parseStrictJson(text), { ok: true, value: JSON.parse(text) });
  }));
});

test('text is taken only where JSON.parse takes it too', () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', 'a', ':', ',', '1', '-', '.', 'e', ' ', '\\', 'true', 'null', '\n') }), (text) => {
    const strict = parseStrictJson(text);
    if (strict.ok) assert.deepEqual(strict.value, JSON.parse(text));
  }));
});

const deep = (levels: number): string => `${'['.repeat(levels)}1${']'.repeat(levels)}`;

for (const [name, text, path, message] of [
  ['a key that stands twice', '{"a":{"b":1,"b":2}}', 'a.b', /stands twice/],
  ['a key that stands twice, once escaped', '{"ab":1,"a\\u0062":2}', 'ab', /stands twice/],
  ['__proto__', '{"a":[{"__proto__":{"x":1}}]}', 'a[0].__proto__', /no name a field may have/],
  ['constructor', '{"constructor":1}', 'constructor', /no name a field may have/],
  ['values too deep', deep(MAX_DEPTH + 1), '', /deeper than 32/],
  ['a number beyond all bounds', '[1e999]', '[0]', /beyond all bounds/],
  ['two documents', '{} {}', '', /more follows/],
  ['a comma too many', '[1,]', '', /not JSON/],
  ['a text that ends too early', '{"a":', '', /ends too early/],
  ['a control character in a string', '"a\u0001"', '', /not JSON/],
] as const) {
  test(`${name} is refused by its place`, () => {
    const parsed = parseStrictJson(text);
    assert.ok(!parsed.ok);
    if (path !== '') assert.ok(parsed.problems[0]?.path.startsWith(path), parsed.problems[0]?.path ?? '');
    assert.match(parsed.problems[0]?.message ?? '', message);
  });
}

test('values as deep as allowed are taken, and no prototype is changed', () => {
  assert.ok(parseStrictJson(deep(MAX_DEPTH)).ok);
  parseStrictJson('{"__proto__":{"polluted":true}}');
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
