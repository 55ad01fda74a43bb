import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

test('every generated file of this repository is what its sources make', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('./main.ts', import.meta.url)), '--check'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^\d{2,} generated files are fresh\n$/);
});
