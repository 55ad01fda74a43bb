// How far apart the clocks of a federation may be: one figure for all that is dated.

/**
 * Milliseconds that the clock of a verifier may be ahead of or behind an issuer's: certificates and tokens are taken
 * that long after their end and before their beginning, and are issued as of that long ago (reliability 33; Istio
 * backdates its certificates too, and RFC 7519 §4.1.4 allows some small leeway).
 */
export const CLOCK_SKEW_MS = 60_000;
