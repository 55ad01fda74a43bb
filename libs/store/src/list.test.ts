// A list is of one revision, whatever happens between its pages (reliability row 9).
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { ReadClient } from './client.ts';
import { openEtcd3Link } from './etcd3-link.ts';
import { openRaw } from './raw-client.ts';
import { openTestStore } from './testing.ts';

/** A reader of a real server, with something happening after each page. */
async function pager(t: TestContext, afterPage: (page: number, put: (key: string) => Promise<bigint>, compact: (revision: bigint) => Promise<unknown>) => Promise<unknown>) {
  const backing = await openTestStore();
  const raw = openRaw(backing.endpoint);
  const link = openEtcd3Link({ endpoints: [backing.endpoint] });
  let pages = 0;
  const range: typeof link.range = async (request, deadlineMs) => {
    const response = await link.range(request, deadlineMs);
    await afterPage(++pages, (key) => backing.store.put(key, 'new'), (revision) => raw.compact(revision));
    return response;
  };
  const reader = new ReadClient({ ...link, range }, { log: silentLog(), metrics: openMetrics(), clock: systemClock, limits: { pageKeys: 2 } }, { maxKeys: 100 });
  t.after(async () => {
    await reader.close();
    raw.close();
    await backing.close();
  });
  for (const key of ['a', 'b', 'c', 'd', 'e']) await backing.store.put(`l/${key}`, 'old');
  return { reader, pages: () => pages };
}

test('all pages are of the revision of the first', async (t) => {
  const { reader, pages } = await pager(t, (_page, put) => put('l/e'));
  const { revision, entries } = await reader.list('l/');
  assert.deepEqual(entries.map((e) => `${e.key}=${e.value}`), ['l/a=old', 'l/b=old', 'l/c=old', 'l/d=old', 'l/e=old']);
  assert.ok(entries.every((e) => e.modRevision <= revision));
  assert.equal(pages(), 3);
});

test('compacted between two pages, it begins anew at one later revision', async (t) => {
  const { reader, pages } = await pager(t, async (page, put, compact) => page === 1 && compact(await put('l/a')));
  const { revision, entries } = await reader.list('l/');
  assert.deepEqual(entries.map((e) => e.key), ['l/a', 'l/b', 'l/c', 'l/d', 'l/e']);
  assert.equal(entries[0]?.value.toString(), 'new');
  assert.ok(entries.every((e) => e.modRevision <= revision));
  assert.equal(pages(), 4);
});

test('compacted after every page, it gives up with a reason', async (t) => {
  const { reader } = await pager(t, async (_page, put, compact) => compact(await put('l/a')));
  await assert.rejects(reader.list('l/'), { code: 'STORE_COMPACTED' });
});
