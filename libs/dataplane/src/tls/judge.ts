// Who stands at the other end of a TLS connection: the verdict over the chain it presented, by one trust domain's bundle.
import { createHash } from 'node:crypto';
import { type Bundle, type SpiffeId, type TrustDomain, trustDomainOf } from '@isthmus/model';
import { type BundleSource, type SvidFacts, svidFacts, trustDomainOfCert, verifySvid } from '@isthmus/pki';
import { fail } from '../errors.ts';

/** Who stands at the other end of a mutual TLS connection, as proven by its certificate. */
export type Peer = {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  /** SHA-256 of the leaf certificate's DER, in hex: the `Hash` of x-forwarded-client-cert. */
  readonly leafSha256: string;
  readonly expiresAtMs: number;
  /** What it presented (DER, leaf first), to be judged again while the connection is open. */
  readonly chain: readonly Buffer[];
};

/** Deepest chain that is looked at: leaf and intermediates (reliability row 46). */
export const MAX_CHAIN = 8;

/**
 * Judges a caller by the bundle of the trust domain its own certificate names. `chain`: DER, leaf first.
 * **Throws** DATAPLANE_PEER_REFUSED; `facts.reason` says why.
 */
export function judgeCaller(chain: readonly Buffer[], bundles: BundleSource, nowMs: number): Peer {
  const judged = judge(chain, bundles, nowMs);
  const { verdict } = judged;
  if (!verdict.ok) throw refusal(verdict.reason, `a caller was refused: ${verdict.detail}`);
  return peerOf(judged, verdict);
}

function peerOf(judged: Judged, verdict: Good): Peer {
  const { spiffeId, expiresAtMs } = verdict;
  return { spiffeId, trustDomain: trustDomainOf(spiffeId), leafSha256: judged.leafSha256, expiresAtMs, chain: judged.chain };
}

/**
 * Why a peer that was good at its handshake would be refused now, or undefined. That its SVID has run out since is no
 * reason: whoever holds the connection proved then who it is, and lives are short for new connections.
 */
export function refusalNow(peer: Peer, bundles: BundleSource, nowMs: number): string | undefined {
  const { verdict } = judge(peer.chain, bundles, Math.min(nowMs, peer.expiresAtMs - 1));
  return verdict.ok ? undefined : verdict.reason;
}

/** Judges a server: only `expectedId` will do, vouched for by its trust domain's bundle alone. **Throws** DATAPLANE_PEER_REFUSED. */
export function judgeServer(
  chain: readonly Buffer[],
  expected: { readonly expectedId: SpiffeId; readonly trustDomain: TrustDomain; readonly host: string; readonly port: number },
  bundles: BundleSource,
  nowMs: number,
): Peer {
  const { expectedId, trustDomain, host, port } = expected;
  const judged = judge(chain, bundles, nowMs, trustDomain);
  const { verdict } = judged;
  if (!verdict.ok) throw refusal(verdict.reason, `${expectedId} expected at ${host}:${port}: ${verdict.detail}`, expectedId);
  if (verdict.spiffeId !== expectedId) throw refusal('wrong-id', `${expectedId} expected at ${host}:${port}, but ${verdict.spiffeId} answered`, expectedId);
  return peerOf(judged, verdict);
}

type Good = Extract<ReturnType<typeof verifySvid>, { readonly ok: true }>;
type Verdict = Good | { readonly ok: false; readonly reason: string; readonly detail: string };
type Judged = { readonly verdict: Verdict; readonly leafSha256: string; readonly chain: readonly Buffer[]; readonly facts?: readonly SvidFacts[] };
type Remembered = { readonly bundle: Bundle; readonly judged: Judged; readonly expiresAtMs: number };

/** Chains found good lately: who calls again shows the same one. A third of a millisecond saved for each. */
const remembered = new Map<string, Remembered>();
const MAX_REMEMBERED = 4_096;

/** A good verdict holds while the very same bundle is in force and no certificate of the chain has run out. */
function judge(chain: readonly Buffer[], bundles: BundleSource, nowMs: number, trustDomain?: TrustDomain): Judged {
  const [leaf] = chain;
  if (leaf === undefined) return { verdict: { ok: false, reason: 'malformed', detail: 'it presented no certificate' }, leafSha256: '', chain };
  const named = trustDomainOfCert(leaf);
  const leafSha256 = createHash('sha256').update(leaf).digest('hex');
  if (!named.ok) return { verdict: { ok: false, reason: 'malformed', detail: named.problems[0]?.message ?? 'its certificate holds no SPIFFE ID' }, leafSha256, chain };
  const td = trustDomainOf(named.value);
  if (trustDomain !== undefined && td !== trustDomain) {
    return { verdict: { ok: false, reason: 'wrong-trust-domain', detail: `its certificate is of trust domain ${td}, not ${trustDomain}` }, leafSha256, chain };
  }
  const judged = verify(chain, leafSha256, bundles.get(td), nowMs);
  const ban = judged.facts === undefined ? undefined : bundles.bans(td)?.of(judged.facts);
  if (ban === undefined) return judged;
  return { ...judged, verdict: { ok: false, reason: 'banned', detail: `${named.value} is banned: SVIDs issued before ${new Date(ban.issuedBeforeMs).toISOString()} are refused` } };
}

function verify(chain: readonly Buffer[], leafSha256: string, bundle: Bundle | undefined, nowMs: number): Judged {
  const hash = createHash('sha256');
  for (const der of chain) hash.update(der);
  const key = hash.digest('latin1');
  const before = remembered.get(key);
  if (before !== undefined && before.bundle === bundle && nowMs < before.expiresAtMs) return before.judged;
  const verdict = verifySvid({ chain, bundle, nowMs });
  const judged = { verdict, leafSha256, chain, ...(verdict.ok && { facts: svidFacts(verdict.spiffeId, chain) }) };
  if (judged.verdict.ok && bundle !== undefined) {
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(key, { bundle, judged, expiresAtMs: judged.verdict.expiresAtMs });
  }
  return judged;
}

function refusal(reason: string, detail: string, expectedId?: SpiffeId): Error {
  return fail('DATAPLANE_PEER_REFUSED', detail, { facts: { reason, ...(expectedId === undefined ? {} : { expectedId }) } });
}
