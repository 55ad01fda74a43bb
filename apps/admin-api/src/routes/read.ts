// Reading this cluster: lists by page and namespace, single things with their ETag.
import { createHash } from 'node:crypto';
import { DEFAULT_PAGE, fail, MAX_PAGE } from '@isthmus/api';
import type { ControlPlane, Found } from '../control-plane.ts';
import { invalid } from '../request.ts';
import type { Answered, Work } from '../server.ts';

/** The ETag of a thing: the store's revision, or for what is not kept there a hash of what it is. */
export function etagOf(found: Found): string {
  if (found.revision > 0n) return `"${found.revision}"`;
  return `"${createHash('sha256').update(JSON.stringify(found.document)).digest('hex').slice(0, 16)}"`;
}

export function toItem(found: Found): { readonly key: string; readonly etag: string; readonly document: Found['document'] } {
  return { key: found.key, etag: etagOf(found), document: found.document };
}

/** A page of a kind, as much of it as the caller may see. */
export async function listKind(controlPlane: ControlPlane, kind: string, work: Work, cluster: string): Promise<Answered> {
  const limit = pageLimit(work);
  const after = cursorOf(work);
  const { items, next } = await visiblePage(controlPlane, kind, work, after, limit);
  return { status: 200, value: { cluster, items: items.map(toItem), ...(next !== undefined && { next: Buffer.from(next).toString('base64url') }) } };
}

export async function getOne(controlPlane: ControlPlane, kind: string, work: Work): Promise<Answered> {
  const key = Object.keys(work.route.resource?.keyParams ?? {}).map((name) => work.params[name] ?? '').join('/');
  const found = await controlPlane.get(kind, key);
  if (found === undefined) throw fail('API_NOT_FOUND', `there is no ${kind} ${key}`);
  return { status: 200, value: found.document, headers: { etag: etagOf(found) } };
}

export function pageLimit(work: Work): number {
  const wanted = Number(work.query['limit'] ?? DEFAULT_PAGE);
  if (wanted > MAX_PAGE) throw invalid([{ path: 'limit', message: `must be at most ${MAX_PAGE}` }]);
  return wanted;
}

export function cursorOf(work: Work): string {
  return Buffer.from(work.query['cursor'] ?? '', 'base64url').toString('utf8');
}

/** A caller of some namespaces gets those, one after the other in the order of their names, so that pages stay whole. */
async function visiblePage(controlPlane: ControlPlane, kind: string, work: Work, after: string, limit: number): Promise<{ readonly items: readonly Found[]; readonly next: string | undefined }> {
  const named = work.query['namespace'];
  const namespaces = named !== undefined ? [named] : work.namespaces === 'all' ? [''] : [...work.namespaces].toSorted();
  const items: Found[] = [];
  for (const namespace of namespaces) {
    if (namespace !== '' && `${namespace}0` < after) continue; // `0` follows `/`: the whole namespace is before the cursor
    const page = await controlPlane.list({ kind, namespace, after, limit: limit - items.length + 1 });
    items.push(...page.items);
    if (items.length > limit) break;
  }
  const shown = items.slice(0, limit);
  return { items: shown, next: items.length > limit ? shown.at(-1)?.key : undefined };
}
