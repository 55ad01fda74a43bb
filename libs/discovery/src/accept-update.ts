// Whether a proxy may use an update: every resource parsed, the whole checked, before anything of it is in force. Pure.
import { isDeepStrictEqual } from 'node:util';
import {
  applyDelta,
  formatProblems,
  parseSnapshotResource,
  quote,
  resourceName,
  type Snapshot,
  snapshotProblems,
  type SnapshotResource,
} from '@isthmus/model';

/** An update as it came, texts not yet parsed. */
export type RawUpdate = { readonly full: boolean; readonly version: number; readonly upserts: readonly Uint8Array[]; readonly removals: readonly string[] };

/** The snapshot after it with what really changed, or why it is refused as a whole. `skipped` counts resources of kinds this version does not know. */
export type Accepted =
  | { readonly ok: true; readonly snapshot: Snapshot; readonly changed: readonly string[]; readonly skipped: number }
  | { readonly ok: false; readonly reason: string };

const MAX_RESOURCES = 100_000;
const MAX_RESOURCE_BYTES = 16 * 1_048_576;
const KNOWN_KINDS: ReadonlySet<unknown> = new Set<SnapshotResource['kind']>(['service', 'bundle', 'foreign-bundle', 'cluster', 'bans']);

/**
 * Judges an update against the snapshot in force. Resources of an unknown kind are skipped, so that an older proxy
 * lives with a newer control plane; anything else wrong refuses the whole. **Bounds** 100,000 resources of 16 MiB; a
 * delta costs its own size, a full update and one that takes a bundle away cost the whole.
 */
export function acceptUpdate(current: Snapshot, update: RawUpdate): Accepted {
  if (update.upserts.length > MAX_RESOURCES) return { ok: false, reason: `${update.upserts.length} resources are more than ${MAX_RESOURCES}` };
  const upserts: SnapshotResource[] = [];
  let skipped = 0;
  for (const bytes of update.upserts) {
    const read = readResource(bytes);
    if (read.kind === 'problem') return { ok: false, reason: read.reason };
    if (read.kind === 'skip') skipped += 1;
    else upserts.push(keepIdentity(current, read.resource));
  }
  const names = new Set(upserts.map(resourceName));
  if (names.size !== upserts.length) return { ok: false, reason: 'a resource stands twice in one update' };
  const snapshot = applyDelta(current, { full: update.full, version: update.version, upserts, removals: update.removals });
  const problems = snapshotProblems(touchesAll(update) ? snapshot : partOf(snapshot, names));
  if (problems.length > 0) return { ok: false, reason: problems.slice(0, 5).join('; ') };
  return { ok: true, snapshot, changed: changedNames(current, snapshot, update.full ? undefined : [...names, ...update.removals]), skipped };
}

type Read = { readonly kind: 'problem'; readonly reason: string } | { readonly kind: 'skip' } | { readonly kind: 'resource'; readonly resource: SnapshotResource };

function readResource(bytes: Uint8Array): Read {
  if (bytes.length > MAX_RESOURCE_BYTES) return { kind: 'problem', reason: `a resource of ${bytes.length} bytes` };
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch {
    return { kind: 'problem', reason: 'a resource is not JSON' };
  }
  return readJson(json);
}

/** Reads one resource that was JSON already. */
export function readJson(json: unknown): Read {
  const kind: unknown = typeof json === 'object' && json !== null && 'kind' in json ? json.kind : undefined;
  if (typeof kind === 'string' && !KNOWN_KINDS.has(kind)) return { kind: 'skip' };
  const parsed = parseSnapshotResource(json);
  if (!parsed.ok) return { kind: 'problem', reason: `a resource of kind ${quote(String(kind))} does not parse: ${formatProblems(parsed.problems)}` };
  return { kind: 'resource', resource: parsed.value };
}

/** The resource in force when it says the same, so that compiling can skip it. */
function keepIdentity(current: Snapshot, resource: SnapshotResource): SnapshotResource {
  const held = current.resources.get(resourceName(resource));
  return held !== undefined && isDeepStrictEqual(held, resource) ? held : resource;
}

function touchesAll(update: RawUpdate): boolean {
  return update.full || update.removals.some((name) => name.startsWith('bundle/'));
}

/** The named resources and every bundle: what is enough to check the named ones. */
function partOf(snapshot: Snapshot, names: ReadonlySet<string>): Snapshot {
  const part = new Map<string, SnapshotResource>();
  for (const name of names) {
    const resource = snapshot.resources.get(name);
    if (resource === undefined) continue;
    part.set(name, resource);
    if (resource.kind !== 'service') continue;
    for (const { trustDomain } of resource.endpoints) {
      const bundle = snapshot.resources.get(`bundle/${trustDomain}`);
      if (bundle !== undefined) part.set(`bundle/${trustDomain}`, bundle);
    }
  }
  return { version: snapshot.version, resources: part };
}

function changedNames(before: Snapshot, after: Snapshot, candidates: readonly string[] | undefined): readonly string[] {
  const names = candidates ?? new Set([...before.resources.keys(), ...after.resources.keys()]);
  return [...names].filter((name) => before.resources.get(name) !== after.resources.get(name));
}
