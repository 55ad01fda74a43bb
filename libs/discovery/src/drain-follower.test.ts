import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NO_DRAIN } from '@isthmus/model';
import { fakeClock } from '@isthmus/runtime/testing';
import { silentLog } from '@isthmus/telemetry';
import { openDrainFollower } from './drain-follower.ts';

const ALL = { revision: 7, draining: true, workloads: [] };

test('a drain is done when the last connection is gone, and each step is told once', async () => {
  const clock = fakeClock();
  const follower = await openDrainFollower({ clock, log: silentLog(), address: '192.0.2.1:15443' });
  const told: string[] = [];
  follower.onProgress(() => told.push(`${follower.progress()?.state} ${follower.progress()?.connections}`));
  follower.take(ALL);
  assert.deepEqual([follower.progress(), told.length], [undefined, 1], 'nothing is acknowledged before it is known what drains');
  let connections = 2;
  follower.follow({ connections: () => connections });
  await clock.advance(2_000);
  connections = 0;
  await clock.advance(1_000);
  assert.deepEqual(follower.progress(), { revision: 7, state: 'drained', connections: 0, address: '192.0.2.1:15443' });
  follower.take(NO_DRAIN);
  await clock.advance(5_000);
  assert.deepEqual(told.slice(1), ['draining 2', 'drained 0', 'serving 0']);
  assert.equal(clock.pending(), 0, 'who serves counts nothing');
  await follower.close();
});

test('only the workloads that are named drain, and a name that is none here is said', async () => {
  const follower = await openDrainFollower({ clock: fakeClock(), log: silentLog() });
  follower.follow({ connections: () => 0, problem: () => 'no such workload here: shop/gone/x' });
  follower.take({ revision: 1, draining: true, workloads: ['shop/cart/one'] });
  assert.deepEqual([follower.covers('shop/cart/one'), follower.covers('shop/cart/two'), follower.covers()], [true, false, true]);
  assert.equal(follower.progress()?.problem, 'no such workload here: shop/gone/x');
  await follower.close();
});

test('a process that was told to drain comes back draining, and with a damaged file it serves', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-drain-'));
  try {
    const options = { stateFile: join(dir, 'drain'), clock: fakeClock(), log: silentLog() };
    const first = await openDrainFollower(options);
    first.take(ALL);
    await first.close();
    const again = await openDrainFollower(options);
    assert.deepEqual(again.desired(), ALL);
    await again.close();
    writeFileSync(options.stateFile, 'garbage', { mode: 0o600 });
    assert.deepEqual((await openDrainFollower(options)).desired(), NO_DRAIN);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
