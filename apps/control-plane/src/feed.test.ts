import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { type Batch, Feed, type Item, type Source } from './feed.ts';

const item = (key: string, revision: number): Item => ({ key, document: { revision }, revision: BigInt(revision) });

/** A source a test changes by hand. */
function sourceOf(items: readonly Item[]): { readonly source: Source; set(...items: Item[]): void; drop(key: string): void; watchers(): number } {
  const all = new Map(items.map((i) => [i.key, i]));
  const listeners = new Set<(keys: readonly string[]) => void>();
  const tell = (keys: readonly string[]): void => {
    for (const fn of listeners) fn(keys);
  };
  return {
    source: {
      list: async () => [...all.values()],
      get: (key) => all.get(key),
      onChange: (fn) => {
        listeners.add(fn);
        return () => listeners.delete(fn);
      },
      isCurrent: () => true,
    },
    set: (...changed) => {
      for (const one of changed) all.set(one.key, one);
      tell(changed.map((one) => one.key));
    },
    drop: (key) => {
      all.delete(key);
      tell([key]);
    },
    watchers: () => listeners.size,
  };
}

async function untilSynced(stream: AsyncGenerator<Batch>): Promise<string[]> {
  const keys: string[] = [];
  for (;;) {
    const { value, done } = await stream.next();
    assert.ok(done !== true);
    keys.push(...value.puts.map((p) => p.key));
    if (value.state === 'synced') return keys;
  }
}

test('a watcher gets everything once, then each change', async () => {
  const made = sourceOf([item('shop/b', 1), item('shop/a', 2), item('bank/x', 3)]);
  const end = new AbortController();
  const stream = new Feed(made.source, systemClock).watch((key) => key.startsWith('shop/'), end.signal);
  assert.deepEqual(await untilSynced(stream), ['shop/a', 'shop/b']);
  made.set(item('bank/x', 4), item('shop/c', 5));
  made.drop('shop/a');
  const next = await stream.next();
  assert.deepEqual(next.value, { puts: [item('shop/c', 5)], deletes: ['shop/a'], state: '' });
  end.abort();
  await stream.return();
  assert.equal(made.watchers(), 0);
});

test('a watcher that falls behind gets the latest of each thing, not each step', async () => {
  const made = sourceOf([item('a/a', 1)]);
  const end = new AbortController();
  const stream = new Feed(made.source, systemClock).watch(() => true, end.signal);
  await untilSynced(stream);
  for (let revision = 2; revision <= 10_000; revision += 1) made.set(item('a/a', revision));
  assert.deepEqual((await stream.next()).value, { puts: [item('a/a', 10_000)], deletes: [], state: '' });
  end.abort();
  assert.equal((await stream.next()).done, true);
});

test('two watchers do not hold each other back', async () => {
  const made = sourceOf([item('a/a', 1)]);
  const end = new AbortController();
  const feed = new Feed(made.source, systemClock);
  const [slow, quick] = [feed.watch(() => true, end.signal), feed.watch(() => true, end.signal)];
  await untilSynced(slow);
  await untilSynced(quick);
  made.set(item('a/b', 2));
  assert.equal((await quick.next()).value?.puts[0]?.key, 'a/b');
  made.drop('a/b');
  assert.deepEqual((await quick.next()).value?.deletes, ['a/b']);
  assert.deepEqual((await slow.next()).value?.deletes, ['a/b']);
  end.abort();
  await Promise.all([slow.return(), quick.return()]);
});

test('what has no change of its own to tell is compared, and only what changed is told', async () => {
  const items = [item('p/1', 0), item('p/2', 0)];
  const end = new AbortController();
  const stream = new Feed({ list: async () => items, isCurrent: () => true }, systemClock).watch(() => true, end.signal);
  await untilSynced(stream);
  items[1] = { ...item('p/2', 0), document: { state: 'stale' } };
  const next = await stream.next();
  assert.deepEqual(next.value?.puts.map((p: Item) => p.key), ['p/2']);
  end.abort();
  await stream.return();
});
