// The key layout of the cluster store: every key that exists is made here, relative to the store's prefix.
import { quote } from '@isthmus/model';
import { fail } from './errors.ts';

/** Where everything Isthmus keeps lies in etcd. */
export const DEFAULT_PREFIX = '/isthmus/v1/';

const SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$/;

/**
 * Keys, each relative to the store's prefix.
 *
 * | key | written by | read by |
 * |---|---|---|
 * | `format`: how all of this is laid out | own control plane | own control plane |
 * | `resources/<kind>/<namespace>/<name>` | admin API, CLI, Terraform | own control plane |
 * | `workloads/<namespace>/<service>/<agent>.<instance>` (leased) | own control plane | own control plane |
 * | `shared/cluster` | own control plane | every peer |
 * | `shared/all/exports/<namespace>/<service>` | own control plane | every peer |
 * | `shared/to/<cluster>/exports/<namespace>/<service>` | own control plane | that peer |
 * | `shared/all/bans/<id>` | own control plane: a ban, signed | every peer |
 * | `peers/<cluster>/<same path below shared/>` | own control plane | own replicas |
 * | `idempotency/<hash of caller and key>` | own control plane | own control plane |
 * | `federated/<trust domain>/{declared,bundle}` | own control plane | own control plane |
 * | `members/<cluster>` · `join-tokens/<id>` · `entries/<role>/<agent>` · `bans/<id>` | own control plane | own control plane |
 * | `drains/<role>/<name>`: who is to get no new work | own control plane | own control plane |
 * | `used-evidence/<method>/<sha256>` · `attested-instances/<id>` · `serial-chains/<agent>` | own control plane | own control plane |
 *
 * **Throws** STORE_KEY_INVALID: a segment is empty, longer than 253 characters, or has a slash or other character not in `A-Za-z0-9._:-`.
 */
export const keys = {
  format: (): string => 'format',
  resource: (kind: string, namespace: string, name: string): string => join('resources', kind, namespace, name),
  resources: (kind?: string): string => prefix('resources', kind),
  workload: (namespace: string, service: string, key: string): string => join('workloads', namespace, service, key),
  workloads: (): string => prefix('workloads'),
  shared: (): string => prefix('shared'),
  sharedCluster: (): string => join('shared', 'cluster'),
  /** `consumer` is `all` or the name of the one cluster that may read it. */
  sharedExport: (consumer: string, namespace: string, name: string): string =>
    `${keys.sharedExports(consumer)}${join(namespace, name)}`,
  /** The prefix of what is shared with one consumer. */
  sharedExports: (consumer: string): string =>
    consumer === 'all' ? prefix('shared', 'all', 'exports') : prefix('shared', 'to', consumer, 'exports'),
  /** Where the mirror of a peer's shared key is kept; takes the key as the peer has it (`shared/…`). */
  peer: (cluster: string, sharedKey: string): string => `${prefix('peers', cluster)}${join(...belowShared(sharedKey))}`,
  peers: (cluster?: string): string => prefix('peers', cluster),
  /** A foreign trust domain as its operator declared it, and the last good bundle of it. */
  federated: (trustDomain: string, part: 'declared' | 'bundle'): string => join('federated', trustDomain, part),
  allFederated: (): string => prefix('federated'),
  member: (cluster: string): string => join('members', cluster),
  members: (): string => prefix('members'),
  joinToken: (id: string): string => join('join-tokens', id),
  joinTokens: (): string => prefix('join-tokens'),
  idempotency: (id: string): string => join('idempotency', id),
  idempotencies: (): string => prefix('idempotency'),
  entry: (role: string, agent: string): string => join('entries', role, agent),
  /** A ban of this cluster; what peers read of it stands under `sharedBan`. */
  ban: (id: string): string => join('bans', id),
  bans: (): string => prefix('bans'),
  sharedBan: (id: string): string => join('shared', 'all', 'bans', id),
  sharedBans: (): string => prefix('shared', 'all', 'bans'),
  entries: (role?: string): string => prefix('entries', role),
  /** An agent or gateway that is to get no new work. */
  drain: (role: string, name: string): string => join('drains', role, name),
  drains: (): string => prefix('drains'),
  /** Which SVIDs of an agent follow which. */
  serialChain: (agent: string): string => join('serial-chains', agent),
  serialChains: (): string => prefix('serial-chains'),
  attestedInstance: (instanceId: string): string => join('attested-instances', instanceId),
  attestedInstances: (): string => prefix('attested-instances'),
  /** Evidence that counts once, by its method and hash; without arguments the prefix of all of it. */
  usedEvidence: (method?: string, sha256?: string): string => (method === undefined || sha256 === undefined ? prefix('used-evidence', method) : join('used-evidence', method, sha256)),
} as const;

/** A range of etcd keys, `[key, rangeEnd)`; an empty `rangeEnd` is the one key. */
export type KeyRange = { readonly key: Buffer; readonly rangeEnd: Buffer };

/**
 * What one peer cluster may read, as absolute key ranges: a rule about ranges and nothing else, so that the same
 * rule can be given to a real etcd as RBAC (decision 0002).
 */
export function peerRanges(storePrefix: string, cluster: string): readonly KeyRange[] {
  const whole = (below: string): KeyRange => prefixRange(storePrefix + below);
  const one: KeyRange = { key: Buffer.from(storePrefix + keys.sharedCluster()), rangeEnd: Buffer.alloc(0) };
  return [one, whole(prefix('shared', 'all')), whole(prefix('shared', 'to', cluster))];
}

/** The range of all keys that begin with `text`; the end is `text` plus one in its last byte below 0xff. Source: etcd api doc, range_end. */
export function prefixRange(text: string): KeyRange {
  const key = Buffer.from(text);
  const end = Buffer.from(key);
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i] ?? 0xff;
    if (byte < 0xff) {
      end[i] = byte + 1;
      return { key, rangeEnd: end.subarray(0, i + 1) };
    }
  }
  return { key: key.length === 0 ? Buffer.from([0]) : key, rangeEnd: Buffer.from([0]) };
}

/** Whether `asked` lies wholly inside `allowed`. A `rangeEnd` of one zero byte means "to the end of all keys" and is inside nothing bounded. */
export function isInside(asked: KeyRange, allowed: KeyRange): boolean {
  if (allowed.rangeEnd.length === 0) return asked.rangeEnd.length === 0 && asked.key.equals(allowed.key);
  if (asked.key.compare(allowed.key) < 0) return false;
  if (asked.rangeEnd.length === 0) return asked.key.compare(allowed.rangeEnd) < 0;
  if (isFromKey(asked.rangeEnd)) return isFromKey(allowed.rangeEnd);
  return isFromKey(allowed.rangeEnd) || asked.rangeEnd.compare(allowed.rangeEnd) <= 0;
}

/** Whether a `range_end` means "every key from here on". */
export function isFromKey(rangeEnd: Uint8Array): boolean {
  return rangeEnd.length === 1 && rangeEnd[0] === 0;
}

function join(...segments: readonly string[]): string {
  for (const segment of segments) {
    if (!SEGMENT.test(segment)) throw fail('STORE_KEY_INVALID', `${quote(segment)} cannot be a segment of a store key`);
  }
  return segments.join('/');
}

function prefix(first: string, ...rest: readonly (string | undefined)[]): string {
  return `${join(first, ...rest.filter((s) => s !== undefined))}/`;
}

function belowShared(sharedKey: string): string[] {
  const [first, ...rest] = sharedKey.split('/');
  if (first !== 'shared' || rest.length === 0) throw fail('STORE_KEY_INVALID', `${quote(sharedKey)} is no key below shared/`);
  return rest;
}
