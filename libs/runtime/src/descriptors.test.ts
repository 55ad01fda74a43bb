import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { connectionsWithin, descriptorLimit } from './descriptors.ts';

test('connections never take the descriptors the rest of the process needs', () => {
  assert.equal(connectionsWithin(16_384, 1_000_000), 16_384);
  assert.equal(connectionsWithin(16_384, undefined), 16_384);
  assert.equal(connectionsWithin(16_384, 296), 100);
  assert.equal(connectionsWithin(16_384, 20), 1);
});

test('the limit is the one the process was started with', { skip: existsSync('/proc/self/limits') ? false : 'no /proc here' }, () => {
  const program = `import { descriptorLimit } from ${JSON.stringify(new URL('./descriptors.ts', import.meta.url).href)}; process.stdout.write(String(descriptorLimit()));`;
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -n 300 && exec "$0" --input-type=module -e "$1"', process.execPath, program], { encoding: 'utf8' });
  assert.equal(stdout, '300');
  assert.ok((descriptorLimit() ?? 0) > 0);
});
