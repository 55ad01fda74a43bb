// What a proxy joins with: a token made for it, or evidence its platform gives it anew each time it is asked.
import type { KeyObject } from 'node:crypto';
import { clusterTrustDomain, formatProblems, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { parseToken } from '@isthmus/pki';
import type { identity } from '@isthmus/rpc';
import { tokenId, tokenRefused } from '../token.ts';

/** Where a proxy's evidence comes from; each is read anew at every attestation. */
export type EvidenceSource =
  | { readonly method: 'jwt'; readonly read: () => Promise<string> }
  | { readonly method: 'aws-instance'; readonly read: () => Promise<Buffer> }
  /** Chain in DER, leaf first, and its key, which stays here. */
  | { readonly method: 'x509'; readonly read: () => Promise<{ readonly chain: readonly Buffer[]; readonly key: KeyObject }> };

/** Attestation without a token: whom to join, how it is known, and with what. */
export type ProxyAttestation = {
  readonly cluster: string;
  readonly federation: TrustDomain;
  /** SHA-256 (hex) of root certificates, one of which the control plane must present. */
  readonly rootSha256: readonly string[];
  readonly source: EvidenceSource;
};

/** What is presented to join: for whom, by what root the one who takes it is known, and the evidence. */
export type JoinTicket = {
  /** The id of a token, or the name of the method. */
  readonly id: string;
  readonly pinsSha256: readonly string[];
  readonly cluster: string;
  readonly federation: TrustDomain;
  readonly trustDomain: TrustDomain;
  /** The agent a token was made for; by any other evidence the control plane decides it. */
  readonly agent: string | undefined;
  readonly spiffeId: SpiffeId | undefined;
  /** Whether it may be presented again: a token may not. */
  readonly isRepeatable: boolean;
  readonly evidence: { readonly method: 'token'; readonly token: string } | EvidenceSource;
};

export type JoinEvidence = NonNullable<identity.JoinRequest['evidence']>;

/** **Throws** IDENTITY_TOKEN_REFUSED for garbage and for a cluster's bootstrap token. */
export function readJoinToken(text: string): JoinTicket {
  const read = parseToken(text);
  if (!read.ok) throw tokenRefused(`it is garbage: ${formatProblems(read.problems)}`);
  const { prefix, fields, pinSha256, secretSha256 } = read.value;
  const { cluster, federation, agent, role } = fields;
  if (prefix !== 'ijt') throw tokenRefused('it is a cluster’s bootstrap token, not a join token');
  if (cluster === undefined || federation === undefined || agent === undefined || role === undefined) throw tokenRefused('it is garbage: it does not say whom it is for');
  const trustDomain = clusterTrustDomain(cluster, federation);
  const spiffeId = role === 'gateway' ? spiffeIds.gateway(trustDomain) : role === 'operator' ? spiffeIds.operator(trustDomain, agent) : spiffeIds.agent(trustDomain, agent);
  return {
    id: tokenId(secretSha256),
    pinsSha256: [pinSha256],
    cluster,
    federation: federation as TrustDomain,
    trustDomain,
    agent,
    spiffeId,
    isRepeatable: false,
    evidence: { method: 'token', token: text },
  };
}

/** The ticket of an attestation that the platform vouches for. */
export function attestationTicket({ cluster, federation, rootSha256, source }: ProxyAttestation): JoinTicket {
  return {
    id: source.method,
    pinsSha256: rootSha256,
    cluster,
    federation,
    trustDomain: clusterTrustDomain(cluster, federation),
    agent: undefined,
    spiffeId: undefined,
    isRepeatable: true,
    evidence: source,
  };
}
