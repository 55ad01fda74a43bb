import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { holdFormat, STORE_FORMAT } from './format.ts';
import { keys } from './keys.ts';
import { openTestStore } from './testing.ts';

async function aStore(t: TestContext) {
  const backing = await openTestStore();
  t.after(() => backing.close());
  const told = Promise.withResolvers<Error>();
  const hold = () => holdFormat({ store: backing.store, clock: systemClock, log: silentLog(), onNewer: (error) => told.resolve(error) });
  const format = async () => (await backing.store.get(keys.format()))?.value.toString();
  return { backing, hold, format, told: told.promise };
}

test('a store without a format is marked with this one, and taken again at the next start', async (t) => {
  const { hold, format, backing } = await aStore(t);
  const first = await hold();
  for await (const event of backing.store.watch(keys.format(), { signal: AbortSignal.timeout(30_000) })) {
    if ((event.kind === 'snapshot' && event.entries.length > 0) || event.kind === 'put') break;
  }
  assert.equal(await format(), String(STORE_FORMAT));
  await first.close();
  await (await hold()).close();
  assert.equal(await format(), String(STORE_FORMAT));
});

test('a store of a newer version is refused in one line, and left as it is', async (t) => {
  const { hold, format, backing } = await aStore(t);
  for (const newer of [String(STORE_FORMAT + 1), 'two and a half']) {
    await backing.store.put(keys.format(), newer);
    await assert.rejects(hold(), (error: Error & { code?: string }) => error.code === 'STORE_NEWER' && /^the store was written by a newer version of this program: its format is \S+, this one knows 1$/.test(error.message));
    assert.equal(await format(), newer);
  }
});

test('who runs while a newer version takes the store over is told', async (t) => {
  const { hold, backing, told } = await aStore(t);
  const held = await hold();
  await backing.store.put(keys.format(), String(STORE_FORMAT + 1));
  assert.match((await told).message, /newer version/);
  await held.close();
});

test('a store that is away keeps nobody from starting', async (t) => {
  const { hold, backing } = await aStore(t);
  await backing.stop();
  const held = await hold();
  await held.close();
});
