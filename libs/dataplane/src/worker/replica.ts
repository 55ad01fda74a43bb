// Copies of what the main thread knows, kept in a worker by its messages: snapshot, bundles, SVIDs.
import type { SnapshotResource } from '@isthmus/model';
import { type BundleSet, makeX509Svid, openBundleSet, type SvidSource, type X509Svid } from '@isthmus/pki';
import type { SnapshotSource } from '../engine/engine.ts';
import type { ToWorker } from './messages.ts';
import type { SvidName } from './spec.ts';

/** **Bounds** none of its own: it holds what the main thread holds. */
export class Replica {
  readonly bundles: BundleSet = openBundleSet();
  readonly snapshots: SnapshotSource;
  readonly #resources = new Map<string, SnapshotResource>();
  readonly #listeners = new Set<Parameters<SnapshotSource['onChange']>[0]>();
  readonly #svids = new Map<SvidName, HeldSvid>();
  #version = 0;

  constructor() {
    this.snapshots = {
      current: () => ({ version: this.#version, resources: this.#resources }),
      onChange: (fn) => {
        this.#listeners.add(fn);
        return () => this.#listeners.delete(fn);
      },
    };
  }

  svids(name: SvidName): HeldSvid {
    let held = this.#svids.get(name);
    if (held === undefined) this.#svids.set(name, (held = new HeldSvid()));
    return held;
  }

  apply(message: Extract<ToWorker, { readonly kind: 'snapshot' | 'svid' | 'bundles' }>): void {
    if (message.kind === 'snapshot') this.#change(message);
    else if (message.kind === 'svid') {
      const { svid } = message;
      this.svids(message.name).set(svid === undefined ? undefined : makeX509Svid(svid.chain.map((der) => Buffer.from(der.buffer, der.byteOffset, der.length)), svid.key));
    } else {
      const kept = new Set(message.bundles.map((bundle) => bundle.trustDomain));
      for (const { trustDomain } of this.bundles.all()) if (!kept.has(trustDomain)) this.bundles.remove(trustDomain);
      for (const bundle of message.bundles) this.bundles.update(bundle);
      const banned = new Map(message.bans.map(({ trustDomain, bans }) => [trustDomain, bans]));
      for (const { trustDomain } of this.bundles.allBans()) if (!banned.has(trustDomain)) this.bundles.ban(trustDomain, []);
      for (const [trustDomain, bans] of banned) this.bundles.ban(trustDomain, bans);
      this.bundles.revoke(message.revoked);
    }
  }

  #change({ version, upserts, removals }: Extract<ToWorker, { readonly kind: 'snapshot' }>): void {
    this.#version = version;
    for (const key of removals) this.#resources.delete(key);
    for (const [key, resource] of upserts) this.#resources.set(key, resource);
    const changed = [...upserts.map(([key]) => key), ...removals];
    for (const fn of this.#listeners) fn(this.snapshots.current(), changed);
  }
}

class HeldSvid implements SvidSource {
  #svid: X509Svid | undefined;
  readonly #listeners = new Set<(svid: X509Svid) => void>();

  current(): X509Svid | undefined {
    return this.#svid;
  }

  onChange(fn: (svid: X509Svid) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  set(svid: X509Svid | undefined): void {
    this.#svid = svid;
    if (svid !== undefined) for (const fn of this.#listeners) fn(svid);
  }
}
