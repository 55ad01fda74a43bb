// The short form: every target for a moment with one fixed seed, and every input that ever broke one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findingText } from './report.ts';
import { runTarget } from './run-target.ts';
import { findTargets } from './target.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const SECONDS = 2;
const HANG_MS = 20_000;

const names = new Set<string>();
for (const file of findTargets(root)) {
  test(`fuzzing for ${SECONDS} s finds nothing: ${file}`, async (t) => {
    const result = await runTarget({ root, file, seed: 1, inputs: 200_000, seconds: SECONDS, hangMs: HANG_MS });
    assert.equal(result.invalid, undefined);
    assert.equal(result.finding, undefined, findingText(result));
    assert.ok(!names.has(result.name), `two targets are called ${result.name}`);
    names.add(result.name);
    t.diagnostic(`${result.inputs} inputs`);
  });
}
