import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Coverage } from './coverage.ts';

test('a branch counts as new once, when it first runs', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-coverage-'));
  const file = join(directory, 'code.mjs');
  writeFileSync(file, `export function f(x) { if (x > 1) { return 'more'; } return [x].map((y) => y === 0 ? 'none' : 'one')[0]; }`);
  const coverage = new Coverage((url) => url.endsWith('/code.mjs'));
  try {
    coverage.start();
    const { f } = (await import(pathToFileURL(file).href)) as { f: (x: number) => string };
    coverage.grew();
    const isNew = (x: number): boolean => {
      f(x);
      return coverage.grew();
    };
    assert.deepEqual([5, 5, 1, 1, 0, 0, 7].map(isNew), [true, false, true, false, true, false, false]);
    f(1);
    const before = coverage.covered;
    assert.equal(coverage.grew(false), false);
    assert.equal(coverage.covered, before);
  } finally {
    coverage.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
