// A whole prefix at one revision, page by page; begun anew when the store compacts that revision between two pages.
import { type CallParts, read, ReadFault } from './calls.ts';
import { fail } from './errors.ts';
import { prefixRange } from './keys.ts';
import type { ReadLink } from './link.ts';
import type { StoreEntry } from './store.ts';
import { type KeyValue, rangeRequest } from './wire.ts';

export interface ListLimits {
  readonly maxValueBytes: number;
  readonly maxKeys: number;
  readonly pageKeys: number;
}

export interface WholeList {
  readonly clusterId: bigint;
  readonly revision: bigint;
  readonly entries: StoreEntry[];
}

const MAX_RESTARTS = 5;

/** Reads all keys below `storePrefix + below`. **Throws** STORE_COMPACTED after five restarts, and what `read` throws. */
export async function listWhole(link: ReadLink, calls: CallParts, storePrefix: string, below: string, limits: ListLimits): Promise<WholeList> {
  let pageKeys = limits.pageKeys;
  for (let restarts = 0; ; ) {
    try {
      return await listOnce(link, calls, storePrefix, below, { ...limits, pageKeys });
    } catch (error) {
      if (!(error instanceof ReadFault)) throw error;
      if (error.kind === 'too-large' && pageKeys > 1) {
        // The page's values together are over the message limit; a smaller page is not.
        pageKeys = Math.max(1, Math.floor(pageKeys / 4));
        continue;
      }
      if (error.kind === 'compacted' && restarts++ < MAX_RESTARTS) continue;
      if (error.kind === 'too-large') throw fail('STORE_TOO_LARGE', `a value below ${below} is larger than a message may be`, { cause: error });
      throw fail('STORE_COMPACTED', `the store compacted the revision of the list of ${below} while it was read`, { cause: error });
    }
  }
}

async function listOnce(link: ReadLink, calls: CallParts, storePrefix: string, below: string, limits: ListLimits): Promise<WholeList> {
  const { key: start, rangeEnd } = prefixRange(storePrefix + below);
  const entries: StoreEntry[] = [];
  let key = start;
  let revision = 0n;
  let clusterId = 0n;
  let seen = 0;
  for (;;) {
    const request = rangeRequest({ key, rangeEnd, revision, limit: BigInt(limits.pageKeys) });
    const page = await read(calls, 'list', (deadlineMs) => link.range(request, deadlineMs));
    if (revision === 0n) {
      revision = page.header?.revision ?? 0n;
      clusterId = page.header?.clusterId ?? 0n;
    }
    for (const kv of page.kvs) {
      seen += 1;
      if (kv.value.length > limits.maxValueBytes) calls.metrics.skipped.inc({ reason: 'value' });
      else if (entries.length >= limits.maxKeys) calls.metrics.skipped.inc({ reason: 'keys' });
      else entries.push(toEntry(kv, storePrefix));
    }
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return { clusterId, revision, entries };
    if (seen >= limits.maxKeys) {
      calls.metrics.skipped.inc({ reason: 'keys' }, Math.max(1, Number(page.count) - page.kvs.length));
      return { clusterId, revision, entries };
    }
    key = Buffer.concat([last.key, Buffer.from([0])]);
  }
}

/** A key-value pair with its key relative to the store's prefix. */
export function toEntry(kv: KeyValue, storePrefix: string): StoreEntry {
  return {
    key: kv.key.toString('utf8').slice(storePrefix.length),
    value: kv.value,
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
    version: kv.version,
    leaseId: kv.lease,
  };
}
