// What a cluster's signing authority is to the rest of the control plane, and what it says of itself.
import type { KeyObject } from 'node:crypto';
import type { Member, RenewHint, SpiffeId, TrustDomain } from '@isthmus/model';
import type { BundleSet, SvidSource } from '@isthmus/pki';
import type { Head } from '../transparency-log/record.ts';
import type { ClusterLog } from './cluster-log.ts';
import type { ProxyTrust } from './trust-report.ts';

export type { AuthorityOptions } from './start.ts';

/** How long everything lasts, for `status` and for alarms. */
export type AuthorityStatus = {
  readonly trustDomain: TrustDomain;
  /** SHA-256 (hex) of the root certificate: what join tokens and agents that attest otherwise pin. */
  readonly rootSha256: string;
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
  /** How far the trust root’s clock was ahead of this machine’s at the last renewal; undefined before the first. */
  readonly clockSkewMs: number | undefined;
  /** SVIDs signed since the start. */
  readonly issued: number;
  /** Where the transparency log stands, and whether it can be written. */
  readonly log: Head & { readonly isWritable: boolean };
};

export interface Authority {
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  /** The control plane's own SVID, `spiffe://<td>/control-plane`, client and server. */
  readonly svids: SvidSource;
  /** One bundle for each trust domain of the federation, this one's and the federation's own among them. */
  readonly bundles: BundleSet;
  /** SHA-256 (hex) of the root that everything signed here hangs on: what new join tokens pin. */
  readonly rootSha256: string;
  /** Hashes a token may pin now: while a root is rotated, those of both. */
  rootPins(): readonly string[];
  /** What proxies are to be told of roots on their way out; nothing to renew while this cluster itself still signs under the old one. */
  renewHint(): Omit<RenewHint, 'spreadMs'>;
  /** Called when the roots, or the one signed under, changed. */
  onRoots(fn: () => void): () => void;
  /** Tells the trust root what everybody here trusts, this control plane and the proxies; call `changed` when those changed. Ends with this authority. */
  reportTrust(proxies: () => Promise<readonly ProxyTrust[]>): { changed(): void };
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
    /** The agent it is for, where that is another ID. */
    readonly holder?: SpiffeId;
    /** When it was asked for, before the asker's right was looked up: a ban in between then holds for it. Default now. */
    readonly askedAtMs?: number;
  }): { readonly chain: readonly Buffer[] };
  /** The cluster's transparency log: what changes who may have which identity is in it before it is told. */
  readonly ledger: ClusterLog;
  /**
   * Signs a JWT-SVID of this trust domain for five minutes; the first one makes the key and has it published.
   * **Throws** IDENTITY_JWT_NOT_READY until the key is in the bundle, IDENTITY_DENIED for an ID of another trust domain.
   */
  signJwt(request: { readonly spiffeId: SpiffeId; readonly audience: readonly string[] }): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  /** Renews the intermediate now; resolves when that was answered or failed. */
  renewNow(): Promise<void>;
  status(): AuthorityStatus;
  close(): Promise<void>;
}
