// The bundles this process trusts, one a trust domain, never merged, never going back.
import { type BannedSvids, type BansView, type Bundle, MAX_BANS } from '@isthmus/model';
import { BanIndex } from './ban-index.ts';

/** Where bundles are read. */
export interface BundleSource {
  get(trustDomain: string): Bundle | undefined;
  all(): readonly Bundle[];
  /** The SVIDs of a trust domain that are banned; undefined where none are. */
  bans(trustDomain: string): BanIndex | undefined;
  allBans(): readonly BansView[];
  /** Roots (SHA-256 in hex) that were compromised and are gone: connections that stand on them are closed without grace. */
  revoked(): readonly string[];
  /** Called after a change; returns the unsubscriber. */
  onChange(fn: () => void): () => void;
}

export interface BundleSet extends BundleSource {
  /** Takes a bundle of a higher sequence; false when it is older or the same. */
  update(bundle: Bundle): boolean;
  remove(trustDomain: string): void;
  /**
   * Replaces the bans of a trust domain that its own cluster told, or those of the trust root; they stand whether its bundle
   * is held or not. **Bounds** `MAX_BANS` in all, the cluster’s oldest go first.
   */
  ban(trustDomain: string, bans: readonly BannedSvids[], by?: 'cluster' | 'root'): void;
  /** Replaces the revoked roots. The bundles they were in are replaced by themselves. */
  revoke(rootSha256s: readonly string[]): void;
}

/** Opens a set of bundles. A sequence never goes back: an old bundle could bring a removed root back (reliability 47). */
export function openBundleSet(initial: readonly Bundle[] = []): BundleSet {
  const bundles = new Map<string, Bundle>();
  const banned = new Map<string, BanIndex>();
  const told = { cluster: new Map<string, readonly BannedSvids[]>(), root: new Map<string, readonly BannedSvids[]>() };
  let revoked: readonly string[] = [];
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const fn of listeners) fn();
  };
  const set: BundleSet = {
    get: (trustDomain) => bundles.get(trustDomain),
    all: () => [...bundles.values()],
    bans: (trustDomain) => banned.get(trustDomain),
    allBans: () => [...banned].map(([trustDomain, { bans }]) => ({ kind: 'bans', trustDomain, bans: [...bans] })),
    revoked: () => revoked,
    onChange: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    update: (bundle) => {
      const before = bundles.get(bundle.trustDomain);
      if (before !== undefined && bundle.sequence <= before.sequence) return false;
      bundles.set(bundle.trustDomain, bundle);
      tell();
      return true;
    },
    remove: (trustDomain) => {
      if (bundles.delete(trustDomain)) tell();
    },
    ban: (trustDomain, bans, by = 'cluster') => {
      told[by].set(trustDomain, bans);
      const all = [...(told.cluster.get(trustDomain) ?? []), ...(told.root.get(trustDomain) ?? [])].slice(-MAX_BANS);
      if (JSON.stringify(banned.get(trustDomain)?.bans ?? []) === JSON.stringify(all)) return;
      if (all.length === 0) banned.delete(trustDomain);
      else banned.set(trustDomain, new BanIndex(all));
      tell();
    },
    revoke: (rootSha256s) => {
      if (rootSha256s.join() === revoked.join()) return;
      revoked = [...rootSha256s];
      tell();
    },
  };
  for (const bundle of initial) set.update(bundle);
  return set;
}
