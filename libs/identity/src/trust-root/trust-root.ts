// The federation's root: one CA, its members, their bootstrap tokens and bundles, all durable before they are told.
import type { TrustDomain } from '@isthmus/model';
import type { BundleSource, KeyKind, SvidSource } from '@isthmus/pki';
import type { trust } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';

export type TrustRootOptions = {
  /** Directory of the root's key and state; made with mode 0700 where it is missing. */
  readonly stateDir: string;
  readonly federation: TrustDomain;
  /** Kind of the root's key, used on the first start only. Default `ec-p256`. */
  readonly keyKind?: KeyKind;
  /** Life of a cluster's intermediate. Default 24 h. */
  readonly intermediateTtlMs?: number;
  /** Life of the root itself, used on the first start only. Default 10 years. */
  readonly rootTtlMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: Metrics;
};

/** A running trust root; put `service` on the TLS listener and `admin` on the Unix socket. */
export interface TrustRoot {
  /** For members and joining clusters. */
  readonly service: { readonly definition: typeof trust.TrustRootService; readonly implementation: trust.TrustRootServer };
  /** For the operator: serve it on a Unix socket only, it asks for no identity. */
  readonly admin: { readonly definition: typeof trust.TrustRootAdminService; readonly implementation: trust.TrustRootAdminServer };
  /** The trust root's own server SVID, `spiffe://<federation>/trust-root`. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** SHA-256 of the root certificate's DER, in hex: what tokens pin. */
  readonly rootSha256: string;
  /** Ends the streams and the renewal. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the root in `stateDir`, making key, root certificate and state on the first start.
 * **Throws** IDENTITY_STATE_MISMATCH, IDENTITY_STATE_CORRUPT, and runtime's STATE_* of a file that is cut short, exposed or on a full disk.
 */
export async function openTrustRoot(_options: TrustRootOptions): Promise<TrustRoot> {
  throw new Error('soon');
}
