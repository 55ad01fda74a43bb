// A cluster's signing authority: gets its intermediate from the trust root, keeps it fresh, and signs while it lasts.
import type { KeyObject } from 'node:crypto';
import type { Member, SpiffeId, TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';

export type AuthorityOptions = {
  /** Directory of the authority's key and state, mode 0700. */
  readonly stateDir: string;
  readonly cluster: string;
  readonly federation: TrustDomain;
  /** Where the trust root is, `host:port`; `serverName` is its SNI, default `trust-root.isthmus.<federation>`. */
  readonly trustRoot: { readonly address: string; readonly serverName?: string | undefined };
  /** The bootstrap token; used where there is no usable state. */
  readonly token?: string | undefined;
  /** What the trust root tells other members of this cluster. */
  readonly self: Omit<Member, 'cluster' | 'trustDomain'>;
  /** Life of the SVIDs signed here. Default 1 h; never longer than the intermediate's rest. */
  readonly svidTtlMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: Metrics;
};

/** How long everything lasts, for `status` and for alarms. */
export type AuthorityStatus = {
  readonly trustDomain: TrustDomain;
  readonly rootExpiresAtMs: number;
  readonly intermediateExpiresAtMs: number;
  readonly ownSvidExpiresAtMs: number;
  /** Seconds until this cluster can issue nothing more, if nothing is renewed. */
  readonly secondsToIdentityLoss: number;
  /** The stream of members is open now. */
  readonly trustRootReachable: boolean;
  /** When the trust root was last heard; undefined when never since the start. */
  readonly trustRootHeardAtMs: number | undefined;
  /** The last failure of renewal or of the stream, until the next success. */
  readonly lastError: string | undefined;
  /** SVIDs signed since the start. */
  readonly issued: number;
};

export interface Authority {
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  /** The control plane's own SVID, `spiffe://<td>/control-plane`, client and server. */
  readonly svids: SvidSource;
  /** One bundle for each trust domain of the federation, this one's and the federation's own among them. */
  readonly bundles: BundleSource;
  /** SHA-256 (hex) of the root certificate: what join tokens pin. */
  readonly rootSha256: string;
  /** Every member, this cluster among them, as last heard. */
  members(): readonly Member[];
  onMembers(fn: (members: readonly Member[]) => void): () => void;
  /**
   * Signs an SVID of this trust domain; the life is clipped to the intermediate's rest.
   * **Throws** IDENTITY_EXPIRED when the intermediate has run out, IDENTITY_DENIED for an ID of another trust domain.
   */
  sign(request: {
    readonly publicKey: KeyObject;
    readonly spiffeId: SpiffeId;
    readonly dnsNames?: readonly string[];
    readonly ttlMs?: number;
  }): { readonly chain: readonly Buffer[] };
  status(): AuthorityStatus;
  close(): Promise<void>;
}

/**
 * Opens the authority: from `stateDir` without asking anybody where that holds a valid intermediate, else by the token.
 * **Throws** IDENTITY_NO_IDENTITY, IDENTITY_TOKEN_REFUSED, IDENTITY_STATE_MISMATCH, RPC_* when joining fails.
 */
export async function openAuthority(_options: AuthorityOptions): Promise<Authority> {
  throw new Error('soon');
}
