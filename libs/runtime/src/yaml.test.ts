import assert from 'node:assert/strict';
import test from 'node:test';
import { formatYaml, parseYaml } from './yaml.ts';

function problemsOf(text: string): string {
  const read = parseYaml(text, 'a.yaml');
  assert.equal(read.ok, false);
  return read.ok ? '' : read.problems.map((p) => `${p.path}: ${p.message}`).join('\n');
}

test('several documents are read, each with the line of every path in it', () => {
  const read = parseYaml('kind: service\nports:\n  - name: http\n    port: 80\n---\n\nkind: export\n', 'a.yaml');
  assert.ok(read.ok);
  const [first, second] = read.value;
  assert.deepEqual(first?.value, { kind: 'service', ports: [{ name: 'http', port: 80 }] });
  assert.equal(first?.lineOf('ports[0].port'), 4);
  assert.equal(first?.lineOf('ports[0].colour'), 3, 'an absent path has the line of its nearest parent');
  assert.equal(second?.lineOf('kind'), 7);
  assert.equal(first?.has('ports[0].port'), true);
  assert.equal(first?.has('ports[1].port'), false);
});

test('a key given twice and a tab as indentation are problems with their line', () => {
  assert.match(problemsOf('a: 1\nb: 2\na: 3\n'), /^a\.yaml:3: .*unique/);
  assert.match(problemsOf('a:\n\tb: 1\n'), /^a\.yaml:2: .*[Tt]ab/);
});

test('aliases that would multiply without end are refused', () => {
  const laughs = ['a: &a [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 9; i++) laughs.push(`${'abcdefghi'[i]}: &${'abcdefghi'[i]} [${Array(9).fill(`*${'abcdefghi'[i - 1]}`).join(', ')}]`);
  assert.match(problemsOf(laughs.join('\n')), /alias/);
});

test('a text over the limit is refused unread', () => {
  assert.match(problemsOf(`a: ${'x'.repeat(5 * 1024 * 1024)}`), /larger than/);
});

test('what is written reads back, and comments stand behind their values', () => {
  const value = { a: 'yes', b: { c: 1, d: ['x', 'y'] }, e: [] };
  const text = formatYaml(value, (path) => (path === 'b.c' ? 'default' : undefined));
  assert.match(text, /c: 1 # default\n/);
  const read = parseYaml(text, 'a.yaml');
  assert.ok(read.ok);
  assert.deepEqual(read.value[0]?.value, value);
});
