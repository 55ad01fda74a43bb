// The bundles this process trusts, one a trust domain, never merged, never going back.
import type { Bundle } from '@isthmus/model';

/** Where bundles are read. */
export interface BundleSource {
  get(trustDomain: string): Bundle | undefined;
  all(): readonly Bundle[];
  /** Called after a change; returns the unsubscriber. */
  onChange(fn: () => void): () => void;
}

export interface BundleSet extends BundleSource {
  /** Takes a bundle of a higher sequence; false when it is older or the same. */
  update(bundle: Bundle): boolean;
  remove(trustDomain: string): void;
}

/** Opens a set of bundles. A sequence never goes back: an old bundle could bring a removed root back (reliability 47). */
export function openBundleSet(initial: readonly Bundle[] = []): BundleSet {
  const bundles = new Map<string, Bundle>();
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const fn of listeners) fn();
  };
  const set: BundleSet = {
    get: (trustDomain) => bundles.get(trustDomain),
    all: () => [...bundles.values()],
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
  };
  for (const bundle of initial) set.update(bundle);
  return set;
}
