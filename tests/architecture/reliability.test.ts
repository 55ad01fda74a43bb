// docs/reliability.md says which test shows each row; this holds it to what is there.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/reliability.md'), 'utf8');
const FIRST_ROW = 49;
const LAST_ROW = 85;

/** What a page claims and cannot show: a test that is not there, a row without one and without a reason. */
function problemsOf(text: string, read: (path: string) => string | undefined): readonly string[] {
  const problems: string[] = [];
  const rows = text.split('\n').filter((line) => line.startsWith('| ') && !/^\| (row|class|promise) \|/.test(line));
  for (const row of rows) {
    const claims = [...row.matchAll(/`([\w./-]+\.ts)` “([^”]+)”/g)];
    if (claims.length === 0 && !/\*\*(?:Not yet|No test)\*\*: \S/.test(row)) problems.push(`${row.slice(0, 60)}… names no test and no reason`);
    for (const [, path = '', name = ''] of claims) {
      const source = read(path);
      if (source === undefined) problems.push(`${path} is not there`);
      else if (!source.includes(name)) problems.push(`${path} has no test “${name}”`);
    }
  }
  for (let row = FIRST_ROW; row <= LAST_ROW; row++) if (!rows.some((line) => line.startsWith(`| ${row} |`))) problems.push(`row ${row} is missing`);
  return problems;
}

test('every row of docs/reliability.md names a test that is there, or says why there is none', () => {
  const problems = problemsOf(page, (path) => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : undefined));
  assert.deepEqual(problems, []);
});

for (const path of ['docs/data-path-shown-by.md', 'docs/operating/operating-shown-by.md', 'docs/operating/trust-shown-by.md', 'docs/operating/reliability-of-trust.md', 'docs/operating/capture.md']) {
  test(`${path} names no test that is not there`, () => {
    const text = readFileSync(join(root, path), 'utf8');
    const problems = problemsOf(text, (file) => (existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : undefined));
    assert.deepEqual(problems.filter((problem) => !/^row \d+ is missing$/.test(problem)), []);
  });
}

test('a page that names what is not there, or leaves a row out, is caught', () => {
  const rows = Array.from({ length: LAST_ROW - FIRST_ROW + 1 }, (_, i) => `| ${FIRST_ROW + i} | x | y | \`a.test.ts\` “it holds” |`);
  const read = (path: string): string | undefined => (path === 'a.test.ts' ? `test('it holds', () => {})` : undefined);
  const spoilt = (from: string, to: string): string => problemsOf(rows.join('\n').replace(from, to), read).join();
  assert.equal(spoilt('', ''), '');
  assert.match(spoilt('a.test.ts', 'b.test.ts'), /b\.test\.ts is not there/);
  assert.match(spoilt('it holds', 'it falls'), /no test “it falls”/);
  assert.match(spoilt('`a.test.ts` “it holds”', 'surely'), /names no test and no reason/);
  assert.match(spoilt(`| ${FIRST_ROW} |`, '| 48 |'), /row 49 is missing/);
  assert.equal(spoilt('`a.test.ts` “it holds”', '**Not yet**: because'), '');
});
