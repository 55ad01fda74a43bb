import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { openTestStore } from '@isthmus/store/testing';
import { silentLog } from '@isthmus/telemetry';
import { openIdempotency, REMEMBERED_MS } from './idempotency.ts';

test('a key stands for one write of one caller, for a day; another write with it is refused, and what is taken back is forgotten', async () => {
  const { store, close } = await openTestStore();
  // Its timers rest: what has run out is not swept here, and must not count all the same.
  const still = fakeClock();
  let nowMs = still.nowMs();
  const clock = { ...still, nowMs: () => nowMs };
  const idempotency = openIdempotency({ store, clock, log: silentLog() });
  const write = (caller: string, idempotencyKey: string, dryRun = false) => ({ caller, idempotencyKey, dryRun, ifRevision: undefined });
  const done = async (memory: ReturnType<typeof idempotency.of>, outcome: object): Promise<boolean> => (await store.txn(memory.writes(outcome))).ok;
  try {
    const first = idempotency.of(write('alice', 'k'), 'ban a');
    assert.equal(await first.earlier(), undefined);
    assert.equal(await done(first, { existed: true }), true);
    assert.equal(await done(idempotency.of(write('alice', 'k'), 'ban a'), {}), false, 'of two at once the second one’s transaction fails');
    assert.deepEqual(await idempotency.of(write('alice', 'k'), 'ban a').earlier(), { existed: true });
    await assert.rejects(idempotency.of(write('alice', 'k'), 'ban b').earlier(), { code: 'CONTROL_PLANE_KEY_REUSED' });
    assert.equal(await idempotency.of(write('bob', 'k'), 'ban b').earlier(), undefined, 'callers do not share their keys');
    assert.equal(await idempotency.of(write('alice', 'k', true), 'ban b').earlier(), undefined, 'what is only tried has no memory');
    assert.deepEqual(idempotency.of(write('alice', ''), 'ban a').writes({}), { compare: [], then: [] });
    assert.throws(() => idempotency.of(write('alice', 'k'.repeat(256)), 'ban a'), { code: 'CONTROL_PLANE_RESOURCE_INVALID' });

    const second = idempotency.of(write('alice', 'k2'), 'ban a');
    assert.equal(await done(second, {}), true);
    await second.forget();
    assert.equal(await second.earlier(), undefined);

    nowMs += REMEMBERED_MS;
    assert.equal(await first.earlier(), undefined);
    assert.equal(await done(first, {}), true, 'after its day the key is free');
  } finally {
    await idempotency.close();
    await close();
  }
});
