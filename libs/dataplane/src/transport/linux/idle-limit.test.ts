import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdleLimit } from './idle-limit.ts';
import { Loop } from './loop.ts';

const skip = process.platform === 'linux' ? false : 'the loop is for Linux';

test('what moved within the limit is idle only a whole limit later, is told once, and not after a stop', { skip, timeout: 60_000 }, async () => {
  const errors: unknown[] = [];
  const loop = new Loop((error) => errors.push(error), { sharesThread: true });
  try {
    let toldAtMs = 0;
    let count = 0;
    const idle = await new Promise<IdleLimit>((resolve) => {
      const limit: IdleLimit = new IdleLimit(loop, () => {
        toldAtMs = performance.now();
        count += 1;
        resolve(limit);
      });
      limit.set(60);
      loop.setTimer(30, () => (limit.movedMs = performance.now()));
    });
    assert.ok(toldAtMs - idle.movedMs >= 58, `told ${toldAtMs - idle.movedMs} ms after the last byte`);
    idle.set(5);
    idle.stop();
    await new Promise<void>((resolve) => void loop.setTimer(40, resolve));
    assert.equal(count, 1, 'stopped in time');
    assert.deepEqual(errors, []);
  } finally {
    loop.close();
  }
});
