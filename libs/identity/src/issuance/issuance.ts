// Issuing SVIDs to agents and gateways: join by a one-time token, renew by the SVID itself, services by entry.
import type { Entry, JoinToken, ServiceName } from '@isthmus/model';
import type { identity } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import type { Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Authority } from '../authority/authority.ts';

export type IssuanceOptions = {
  readonly authority: Authority;
  readonly store: Store;
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Certificates one caller may have at once and a second. Default 50 and 5. */
  readonly rate?: { readonly burst: number; readonly perSecond: number };
};

export type JoinTokenRequest = {
  readonly agent: string;
  readonly role: 'agent' | 'gateway';
  /** `namespace/service` names the agent may hold identities for. */
  readonly services: readonly string[];
  /** Default 3600, at most 7 days. */
  readonly ttlSeconds?: number;
};
/** `token` is shown once: only its hash is kept. */
export type CreatedJoinToken = { readonly token: string; readonly id: string; readonly expiresAtMs: number };

export interface Issuance {
  /** For `startRpcServer({ services: [issuance] })`. */
  readonly definition: typeof identity.IssuanceService;
  readonly implementation: identity.IssuanceServer;
  /** **Throws** IDENTITY_TOKEN_INVALID naming every wrong field; STORE_*. */
  createJoinToken(request: JoinTokenRequest): Promise<CreatedJoinToken>;
  /** Tokens that are not deleted, used and expired ones among them; no secrets. */
  listJoinTokens(): Promise<readonly JoinToken[]>;
  /** **Throws** IDENTITY_TOKEN_NOT_FOUND. */
  deleteJoinToken(id: string): Promise<void>;
  /** Who has joined. */
  listEntries(): Promise<readonly Entry[]>;
  /** Takes an agent's or gateway's right to renew; its SVID runs out. Whether there was such an entry. */
  deleteEntry(role: 'agent' | 'gateway', agent: string): Promise<boolean>;
  /** Whether this agent's entry lists this service: asked for issuing, and for reports of workloads. */
  mayServe(agent: string, service: ServiceName): Promise<boolean>;
}

export function serveIssuance(_options: IssuanceOptions): Issuance {
  throw new Error('soon');
}
