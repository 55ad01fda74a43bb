// What an operator or the admin API may ask of this control plane, over its Unix socket: declare, list, watch, make tokens, ban, see the state.
import { type Bundle, spiffeIds, reservedSni } from '@isthmus/model';
import { bundleToWire, type Authority, publicKeyOf } from '@isthmus/identity';
import { type admin, handleUnary, toServiceError } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import { fail } from './errors.ts';
import { Feed, type Item, type Source } from './feed.ts';
import { apply, ban, createJoinToken, lift, readmit, remove, type WriteParts } from './writes.ts';

/** Everything the admin service shows or changes. */
export type AdminParts = WriteParts & {
  readonly authority: Authority;
  readonly sources: Readonly<Record<string, Source>>;
  readonly status: () => object;
  readonly clock: Clock;
  readonly log: Log;
};

/** Watches open at once, all kinds together. */
const MAX_WATCHES = 512;

export function makeAdminService(parts: AdminParts): admin.AdminServer {
  const feeds = new Map(Object.entries(parts.sources).map(([kind, source]) => [kind, new Feed(source, parts.clock)]));
  let watchCount = 0;
  return {
    apply: handleUnary((request) => apply(parts, request), parts.log),
    delete: handleUnary((request) => remove(parts, request), parts.log),
    list: handleUnary((request) => list(parts, request), parts.log),
    get: handleUnary((request) => get(parts, request), parts.log),
    createJoinToken: handleUnary((request) => createJoinToken(parts, request), parts.log),
    ban: handleUnary((request) => ban(parts, request), parts.log),
    unban: handleUnary((request) => lift(parts, request), parts.log),
    readmit: handleUnary((request) => readmit(parts, request), parts.log),
    status: handleUnary(() => Promise.resolve({ document: toJson(parts.status()) })),
    issueAdminApi: handleUnary(({ csr }) => Promise.resolve(issueAdminApi(parts.authority, csr)), parts.log),
    watch: (call) => {
      const { kind, namespace } = call.request;
      const feed = feeds.get(kind);
      const ended = new AbortController();
      const end = (): void => ended.abort();
      for (const event of ['cancelled', 'close', 'error'] as const) call.on(event, end);
      watchCount += 1;
      const run = async (): Promise<void> => {
        if (feed === undefined) throw unknownKind(parts, kind);
        if (watchCount > MAX_WATCHES) throw fail('CONTROL_PLANE_WATCHERS_FULL', `${MAX_WATCHES} watches are open already`);
        for await (const batch of feed.watch(namespace === '' ? () => true : (key) => key.startsWith(`${namespace}/`), ended.signal)) {
          const isTaken = call.write({ puts: batch.puts.map(toWatchItem), deletes: [...batch.deletes], state: batch.state });
          if (!isTaken && !ended.signal.aborted) await drained(call, ended.signal);
        }
      };
      run().then(() => call.end(), (error: unknown) => call.destroy(toServiceError(error))).finally(() => {
        watchCount -= 1;
      });
    },
  };
}

/** Waits until a stream that is full takes more, or is ended. */
function drained(call: { once(event: 'drain', fn: () => void): unknown; off(event: 'drain', fn: () => void): unknown }, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}

function unknownKind(parts: AdminParts, kind: string): Error {
  return fail('CONTROL_PLANE_KIND_UNKNOWN', `there is no list of ${JSON.stringify(kind)}`, { hint: `kinds: ${Object.keys(parts.sources).join(', ')}` });
}

async function list(parts: AdminParts, { kind, namespace, after, limit }: admin.ListRequest): Promise<admin.ListResponse> {
  const source = Object.hasOwn(parts.sources, kind) ? parts.sources[kind] : undefined;
  if (source === undefined) throw unknownKind(parts, kind);
  const wanted = (await source.list()).filter((item) => isIn(item, namespace) && (after === '' || item.key > after));
  const sorted = wanted.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const page = limit === 0 ? sorted : sorted.slice(0, limit);
  return {
    documents: page.map((item) => toJson(item.document)),
    keys: page.map((item) => item.key),
    revisions: page.map((item) => item.revision),
    more: page.length < sorted.length,
  };
}

function isIn({ document }: Item, namespace: string): boolean {
  return namespace === '' || !('namespace' in document) || document.namespace === namespace;
}

/** One thing; what is declared is read from the store itself, so that its revision is good to write against. */
async function get(parts: AdminParts, { kind, key }: admin.GetRequest): Promise<admin.GetResponse> {
  const storeKey = storeKeyOf(kind, key);
  if (storeKey !== undefined) {
    const found = await parts.store.get(storeKey);
    return found === undefined ? { document: Buffer.alloc(0), revision: 0n } : { document: found.value, revision: found.modRevision };
  }
  const source = Object.hasOwn(parts.sources, kind) ? parts.sources[kind] : undefined;
  if (source === undefined) throw unknownKind(parts, kind);
  const found = (await source.list()).find((item) => item.key === key);
  return found === undefined ? { document: Buffer.alloc(0), revision: 0n } : { document: toJson(found.document), revision: found.revision };
}

/** Where a declaration is kept; undefined for what is no declaration. */
function storeKeyOf(kind: string, key: string): string | undefined {
  if (kind === 'federated-trust-domain') return keys.federated(key, 'declared');
  const [namespace = '', name = ''] = key.split('/');
  if (kind === 'drain') return keys.drain(namespace, name);
  return kind === 'service' || kind === 'export' ? keys.resource(kind, namespace, name) : undefined;
}

/** The admin API's SVID and every bundle: whoever may open this socket is trusted with more than that. */
function issueAdminApi(authority: Authority, csr: Uint8Array): { chain: Buffer[]; bundles: ReturnType<typeof bundleToWire>[] } {
  const spiffeId = spiffeIds.adminApi(authority.trustDomain);
  const { chain } = authority.sign({ publicKey: publicKeyOf(csr, spiffeId), spiffeId, dnsNames: [reservedSni('admin', authority.trustDomain)] });
  return { chain: [...chain], bundles: authority.bundles.all().map((bundle: Bundle) => bundleToWire(bundle)) };
}

function toWatchItem({ key, document, revision }: Item): admin.WatchItem {
  return { key, document: toJson(document), revision };
}

function toJson(value: object): Buffer {
  return Buffer.from(JSON.stringify(value, (_key, v: unknown) => (typeof v === 'bigint' ? Number(v) : v)));
}

