// A peer: another cluster as this one sees it, judged by this cluster's own evidence only.

/** fresh: heartbeats arrive. stale: 3 missed. presumed-dead: none for two minutes. fenced: cut off by an operator. */
export type PeerState = 'fresh' | 'stale' | 'presumed-dead' | 'fenced';

export const HEARTBEAT_INTERVAL_MS = 5_000;
/** Consul's figures for peering: heartbeat 15 s, dead after 120 s (facts 5); we beat thrice in the first. */
export const STALE_AFTER_MS = 15_000;
export const PRESUMED_DEAD_AFTER_MS = 120_000;

/**
 * The state of a peer from the age of its last heartbeat, on this cluster's monotonic clock; a peer never heard from is
 * judged from the moment watching began. Fencing is an operator's word and is not derived here.
 */
export function peerStateAt(
  lastHeardMonotonicMs: number,
  nowMonotonicMs: number,
  limits: { readonly staleAfterMs: number; readonly presumedDeadAfterMs: number } = {
    staleAfterMs: STALE_AFTER_MS,
    presumedDeadAfterMs: PRESUMED_DEAD_AFTER_MS,
  },
): Exclude<PeerState, 'fenced'> {
  const ageMs = nowMonotonicMs - lastHeardMonotonicMs;
  if (ageMs < limits.staleAfterMs) return 'fresh';
  return ageMs < limits.presumedDeadAfterMs ? 'stale' : 'presumed-dead';
}
