import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { startEmbeddedStore } from './embedded/server.ts';
import { openStore } from './open-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-full-'));
const canMount = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]).status === 0;

test('a full disk refuses writes with STORE_FULL, loses none that was acknowledged, and reads go on', { skip: canMount ? false : 'a small tmpfs needs root' }, async () => {
  const parts = { log: silentLog(), clock: systemClock, metrics: openMetrics() };
  const server = await startEmbeddedStore({ path: join(directory, 'store.db'), listen: { host: '127.0.0.1', port: 0 }, ...parts });
  const store = await openStore({ endpoints: [`http://127.0.0.1:${server.port}`], ...parts });
  try {
    let written = 0;
    const fill = async (): Promise<void> => {
      for (; written < 1_000; written++) await store.put(`full/${written}`, 'x'.repeat(20_000));
    };
    await assert.rejects(fill(), { code: 'STORE_FULL' });
    assert.ok(written > 0);
    assert.equal((await store.list('full/')).entries.length, written);
    await assert.rejects(store.put('full/again', 'x'.repeat(20_000)), { code: 'STORE_FULL' });
  } finally {
    await store.close();
    await server.close();
    execFileSync('umount', [directory]);
    rmSync(directory, { recursive: true, force: true });
  }
});
