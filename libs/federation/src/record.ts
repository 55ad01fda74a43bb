// A peer's record: believed only when that peer's control plane signed it, for its own cluster, under the key it names.
import { type Ban, type ClusterRecord, type Digest, formatProblems, messageOf, parseBan, parseClusterRecord, parseDigest, parseSpiffeId, quote, spiffeIds, type TrustDomain, trustDomainOf } from '@isthmus/model';
import { type BundleSource, verifyRecord } from '@isthmus/pki';
import { keys } from '@isthmus/store';
import { readableKeys } from './digest.ts';

/** Whose record it must be, and who reads it. */
export type RecordOrigin = { readonly cluster: string; readonly trustDomain: string; readonly consumer: string };

export type PeerRecord = { readonly kind: 'digest'; readonly value: Digest } | { readonly kind: 'cluster'; readonly value: ClusterRecord } | { readonly kind: 'ban'; readonly value: Ban };

/** `mayHeal`: a newer bundle or a later clock may make it good. */
export type ReadRecord =
  | { readonly ok: true; readonly record: PeerRecord }
  | { readonly ok: false; readonly reason: string; readonly detail: string; readonly mayHeal: boolean };

/** The most bytes a signed record may have. */
export const MAX_RECORD_BYTES = 65_536;

/** What a newer bundle or a corrected clock may heal. */
const HEALING: ReadonlySet<string> = new Set(['no-bundle', 'not-yet-valid', 'untrusted', 'expired']);

/** Verifies the signature against that peer's bundle alone, then parses; a cluster that speaks of another one is refused. */
export function readRecord(key: string, bytes: Uint8Array, origin: RecordOrigin, bundles: BundleSource, nowMs: number): ReadRecord {
  const verdict = verifyRecord(bytes, {
    bundle: bundles.get(origin.trustDomain),
    expectedId: spiffeIds.controlPlane(origin.trustDomain as TrustDomain),
    nowMs,
    maxBytes: MAX_RECORD_BYTES,
  });
  if (!verdict.ok) return { ok: false, reason: verdict.reason, detail: verdict.detail, mayHeal: HEALING.has(verdict.reason) };
  return parseRecord(key, verdict.payload, origin);
}

/** Parses a payload already trusted (just verified, or from the own store) and holds it to its key and its cluster. */
export function parseRecord(key: string, payload: Uint8Array, origin: RecordOrigin): ReadRecord {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch (thrown) {
    return refuse('malformed', messageOf(thrown));
  }
  if (key === keys.sharedCluster()) return clusterRecord(json, origin);
  return key.startsWith(keys.sharedBans()) ? banRecord(key, json, origin) : digestRecord(key, json, origin);
}

function clusterRecord(json: unknown, origin: RecordOrigin): ReadRecord {
  const parsed = parseClusterRecord(json);
  if (!parsed.ok) return refuse('malformed', formatProblems(parsed.problems));
  const { cluster, trustDomain } = parsed.value;
  if (cluster !== origin.cluster || trustDomain !== origin.trustDomain) return refuse('not-its-own', `speaks for cluster ${quote(cluster)} of ${quote(trustDomain)}`);
  return { ok: true, record: { kind: 'cluster', value: parsed.value } };
}

/** A cluster bans IDs of its own trust domain and no others. */
function banRecord(key: string, json: unknown, origin: RecordOrigin): ReadRecord {
  const parsed = parseBan(json);
  if (!parsed.ok) return refuse('malformed', formatProblems(parsed.problems));
  const { cluster, trustDomain, spiffeId, id } = parsed.value;
  const named = parseSpiffeId(spiffeId);
  const isOwn = cluster === origin.cluster && trustDomain === origin.trustDomain && named.ok && trustDomainOf(named.value) === origin.trustDomain;
  if (!isOwn) return refuse('not-its-own', `bans ${quote(spiffeId)} of cluster ${quote(cluster)}`);
  if (key !== keys.sharedBan(id)) return refuse('wrong-key', `is ban ${quote(id)}`);
  return { ok: true, record: { kind: 'ban', value: parsed.value } };
}

function digestRecord(key: string, json: unknown, origin: RecordOrigin): ReadRecord {
  const parsed = parseDigest(json);
  if (!parsed.ok) return refuse('malformed', formatProblems(parsed.problems));
  if (parsed.value.cluster !== origin.cluster) return refuse('not-its-own', `speaks for cluster ${quote(parsed.value.cluster)}`);
  if (!readableKeys(origin.consumer, parsed.value).includes(key)) return refuse('wrong-key', `names ${quote(`${parsed.value.namespace}/${parsed.value.name}`)}`);
  return { ok: true, record: { kind: 'digest', value: parsed.value } };
}

function refuse(reason: string, detail: string): ReadRecord {
  return { ok: false, reason, detail, mayHeal: false };
}
