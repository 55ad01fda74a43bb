// Fencing a cluster: its bundle is emptied for everybody, which revokes all it ever signed; and letting it back in with a new intermediate.
import type { Bundle } from '@isthmus/model';
import { authoritiesOf } from './rotation-state.ts';
import type { Fence, TrustRootState } from './state.ts';

/** A fence that is up: nothing of this trust domain is trusted by anybody. */
export function isFenced(state: TrustRootState, trustDomain: string): boolean {
  return state.fences?.some((fence) => fence.trustDomain === trustDomain && fence.liftedAtMs === undefined) ?? false;
}

/** The state with the cluster fenced: a bundle without authorities and of the next sequence; its unspent tokens are void. */
export function withFence(state: TrustRootState, member: { readonly cluster: string; readonly trustDomain: string }, reason: string, nowMs: number): TrustRootState {
  const { cluster, trustDomain } = member;
  return {
    ...withBundle(state, trustDomain, []),
    tokens: state.tokens.filter((token) => token.cluster !== cluster || token.usedAtMs !== undefined),
    fences: [...others(state, trustDomain), { cluster, trustDomain, reason, fencedAtMs: nowMs }],
  };
}

/** The state with the fence lifted: the roots are back in its bundle, and intermediates issued before now stay revoked until the last has run out. */
export function withoutFence(state: TrustRootState, cluster: string, nowMs: number): TrustRootState {
  const fence = state.fences?.find((f) => f.cluster === cluster && f.liftedAtMs === undefined);
  if (fence === undefined) return state;
  const expiresAtMs = Math.max(nowMs, ...state.journal.filter((entry) => entry.cluster === cluster).map((entry) => entry.expiresAtMs));
  return { ...withBundle(state, fence.trustDomain, authoritiesOf(state)), fences: [...others(state, fence.trustDomain), { ...fence, liftedAtMs: nowMs, revokedUntilMs: expiresAtMs }] };
}

/** Intermediates that are revoked one by one: those from before a fence that was lifted. */
export function revokedAuthorities(state: TrustRootState, nowMs: number): readonly { readonly trustDomain: string; readonly issuedBeforeMs: number; readonly expiresAtMs: number }[] {
  return (state.fences ?? []).flatMap(({ trustDomain, liftedAtMs, revokedUntilMs }) =>
    liftedAtMs === undefined || revokedUntilMs === undefined || revokedUntilMs <= nowMs ? [] : [{ trustDomain, issuedBeforeMs: liftedAtMs, expiresAtMs: revokedUntilMs }],
  );
}

function others(state: TrustRootState, trustDomain: string): readonly Fence[] {
  return (state.fences ?? []).filter((fence) => fence.trustDomain !== trustDomain);
}

function withBundle(state: TrustRootState, trustDomain: string, authorities: readonly string[]): TrustRootState {
  const next = (bundle: Bundle): Bundle => (bundle.trustDomain === trustDomain ? { ...bundle, sequence: bundle.sequence + 1, x509Authorities: [...authorities] } : bundle);
  return { ...state, bundles: state.bundles.map(next) };
}
