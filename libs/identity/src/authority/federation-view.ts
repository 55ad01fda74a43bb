// The federation as this cluster knows it: members and bundles, kept on disk, never stepping back.
import { isDeepStrictEqual } from 'node:util';
import { type Bundle, type Member, spiffeIds, type TrustDomain } from '@isthmus/model';
import { openBundleSet } from '@isthmus/pki';
import type { trust } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { bundleFromWire, memberFromWire, readable } from '../wire.ts';
import type { RevokedAuthorities, RootMark, ViewState } from './state.ts';

const MAX_ROOTS = 64;
const MAX_REVOKED = 1_024;

export type KnownFederation = ReturnType<typeof openKnownFederation>;

/**
 * `own` are the bundles this cluster cannot be without: its own trust domain's and the federation's. They stay whatever
 * a view leaves out, so that a cluster that was removed still serves itself.
 */
export function openKnownFederation(cached: ViewState | undefined, own: readonly Bundle[], federation: string, log: Log) {
  const bundles = openBundleSet([...own]);
  const kept: ReadonlySet<string> = new Set(own.map((b) => b.trustDomain));
  const listeners = new Set<(members: readonly Member[]) => void>();
  let members: readonly Member[] = cached?.members ?? [];
  let roots: readonly RootMark[] = cached?.roots ?? [];
  let revoked: readonly RevokedAuthorities[] = cached?.revokedAuthorities ?? [];
  for (const bundle of cached?.bundles ?? []) bundles.update(bundle);
  /** Each trust domain that is or was in the list gets what the list now says of it. */
  const ban = (before: readonly RevokedAuthorities[]): void => {
    for (const trustDomain of new Set([...before, ...revoked].map((r) => r.trustDomain))) {
      const banned = revoked.filter((r) => r.trustDomain === trustDomain).map(({ issuedBeforeMs, expiresAtMs }) => ({ spiffeId: spiffeIds.authority(trustDomain as TrustDomain), issuedBeforeMs, expiresAtMs }));
      bundles.ban(trustDomain, banned, 'root');
    }
  };
  ban([]);
  bundles.revoke(revokedOf(roots));

  return {
    bundles,
    members: (): readonly Member[] => members,
    /** The federation's roots and what becomes of each. */
    roots: (): readonly RootMark[] => roots,
    onMembers(fn: (members: readonly Member[]) => void): () => void {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    /** Takes a whole view; whether anything changed. A bundle older than the known one is not taken. */
    take(view: trust.FederationView): boolean {
      if (view.federation !== federation) {
        log.warn('a view of another federation is refused', { federation: view.federation.slice(0, 255) });
        return false;
      }
      const refuse = (problems: string): void => log.warn('part of a federation view is refused', { problems });
      const heard = readable(view.bundles, bundleFromWire, refuse);
      let hasChanged = false;
      for (const known of bundles.all()) {
        if (kept.has(known.trustDomain) || view.bundles.some((b) => b.trustDomain === known.trustDomain)) continue;
        bundles.remove(known.trustDomain);
        hasChanged = true;
      }
      for (const bundle of heard) {
        const known = bundles.get(bundle.trustDomain);
        if (known !== undefined && bundle.sequence <= known.sequence) continue;
        hasChanged = bundles.update(bundle) || hasChanged;
      }
      const marks = view.roots.slice(0, MAX_ROOTS).map((r) => ({ sha256: Buffer.from(r.sha256).toString('hex'), state: r.state.slice(0, 32) })).filter((r) => r.sha256.length === 64);
      if (!isDeepStrictEqual(marks, roots)) hasChanged = true;
      roots = marks;
      const told = view.revokedAuthorities.slice(0, MAX_REVOKED).map((r) => ({ trustDomain: r.trustDomain.slice(0, 255), issuedBeforeMs: Number(r.issuedBeforeMs), expiresAtMs: Number(r.expiresAtMs) }));
      if (!isDeepStrictEqual(told, revoked)) {
        const before = revoked;
        revoked = told;
        ban(before);
        hasChanged = true;
      }
      bundles.revoke(revokedOf(roots));
      const readableMembers = readable(view.members, memberFromWire, refuse);
      // A member that is there but does not parse stays as it was last heard.
      const unread = members.filter((m) => view.members.some((w) => w.cluster === m.cluster) && !readableMembers.some((r) => r.cluster === m.cluster));
      const next = [...readableMembers, ...unread].sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
      if (JSON.stringify(next) === JSON.stringify(members)) return hasChanged;
      members = next;
      for (const listener of listeners) listener(members);
      return true;
    },
    toState: (): ViewState => ({ version: 1, members: [...members], bundles: [...bundles.all()], roots: [...roots], revokedAuthorities: [...revoked] }),
    close: (): void => listeners.clear(),
  };
}

function revokedOf(roots: readonly RootMark[]): readonly string[] {
  return roots.flatMap((r) => (r.state === 'revoked' ? [r.sha256] : []));
}

/** What a cluster trusts before it has heard anybody: the root it joined by, for itself and for the federation. */
export function ownBundles(root: Buffer, trustDomain: TrustDomain, federation: TrustDomain): Bundle[] {
  return [trustDomain, federation].map((td) => ({
    trustDomain: td,
    sequence: 0,
    refreshHintSeconds: 300,
    x509Authorities: [root.toString('base64')],
  }));
}
