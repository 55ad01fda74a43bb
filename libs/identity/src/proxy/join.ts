// A proxy's identity: joined once by token or resumed from disk, kept fresh, with the SVIDs of the services beside it.
import type { ServiceName, SpiffeId, TrustDomain } from '@isthmus/model';
import type { BundleSource, KeyKind, SvidSource } from '@isthmus/pki';
import type { RpcChannel } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';

export type IdentityOptions = {
  /** Directory of keys, SVIDs and bundles, mode 0700. */
  readonly stateDir: string;
  /** The one-time join token; used where the stored identity is not valid, or its renewal is refused. */
  readonly token?: string | undefined;
  /** `host:port` of the control plane or of the gateway in front of it; `serverName` defaults to `control-plane.isthmus.<td>`. */
  readonly server: { readonly address: string; readonly serverName?: string | undefined };
  /** Kind of the keys made here. Default `ec-p256`. */
  readonly keyKind?: KeyKind;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: Metrics;
  /** Limit of one call to the control plane. 10 s. */
  readonly requestTimeoutMs?: number;
};

export type IdentityStatus = {
  readonly spiffeId: SpiffeId;
  readonly expiresAtMs: number;
  /** Seconds until this proxy's own SVID runs out, if nothing is renewed. */
  readonly secondsToIdentityLoss: number;
  readonly services: readonly { readonly spiffeId: SpiffeId; readonly expiresAtMs: number }[];
  /** Renewals that were refused or failed since the last success. */
  readonly lastError: string | undefined;
};

export interface Identity {
  readonly trustDomain: TrustDomain;
  readonly cluster: string;
  readonly federation: TrustDomain;
  /** This proxy's own ID: `…/agent/<name>` or `…/gateway`. */
  readonly spiffeId: SpiffeId;
  /** This proxy's name: the agent its token was made for. */
  readonly agent: string;
  readonly svids: SvidSource;
  readonly bundles: BundleSource & { update(bundle: import('@isthmus/model').Bundle): boolean; remove(trustDomain: string): void };
  /** The service's SVID: issued on the first call, kept fresh since; `current()` is undefined until it is there. */
  serviceSvids(service: ServiceName): SvidSource;
  /** The one channel to the control plane, owned by this identity: do not close it. */
  channel(): RpcChannel;
  status(): IdentityStatus;
  close(): Promise<void>;
}

/**
 * Resumes the identity in `stateDir` while its SVID is valid, asking nobody; else joins with the token.
 * **Throws** IDENTITY_NO_IDENTITY when there is neither, IDENTITY_TOKEN_REFUSED, RPC_*, STATE_*.
 */
export async function joinOrResume(_options: IdentityOptions): Promise<Identity> {
  throw new Error('soon');
}
