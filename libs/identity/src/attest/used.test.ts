// What is remembered of used evidence is kept as long as it could be shown again, and not for ever.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { keys } from '@isthmus/store';
import { openTestStore } from '@isthmus/store/testing';
import { silentLog } from '@isthmus/telemetry';
import { until } from '../testing.ts';
import { onceUntil, sweepUsedEvidence } from './used.ts';

test('evidence counts once, and is forgotten by itself two minutes after its end', async () => {
  const opened = await openTestStore();
  const { store } = opened;
  const clock = fakeClock();
  const sweeper = sweepUsedEvidence({ store, clock, log: silentLog() });
  const use = async (name: string, untilMs: number): Promise<boolean> => (await store.txn(onceUntil(keys.usedEvidence('jwt', name), untilMs))).ok;
  const left = async (): Promise<string[]> => (await store.list(keys.usedEvidence())).entries.map(({ key }) => key.split('/').at(-1) ?? '');
  for (let i = 0; i < 200; i++) assert.equal(await use(`short-${i}`, clock.nowMs() + 1_000), true);
  assert.equal(await use('long', clock.nowMs() + 3_600_000), true);
  await store.put(keys.usedEvidence('jwt', 'garbage'), 'not JSON');
  assert.equal(await use('long', clock.nowMs() + 3_600_000), false);
  assert.equal(await sweeper.sweep(), 1, 'what does not parse is of no use; the rest may still be shown');
  assert.equal((await left()).length, 201);
  await clock.advance(301_000);
  await until(async () => (await left()).length === 1, 'the sweep by itself');
  assert.deepEqual(await left(), ['long']);
  await sweeper.close();
  assert.equal(clock.pending(), 0);
  await opened.close();
});
