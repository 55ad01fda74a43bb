// The authority's calls to the trust root: join with a pinned root, renew as a member, watch the federation.
import { formatProblems, type JwtAuthority, reservedSni, type Member, spiffeIds, type TrustDomain } from '@isthmus/model';
import { type BundleSource, makeCsr, openBundleSet, parseToken, type SvidSource } from '@isthmus/pki';
import { call, fetchPinnedRoot, fromServiceError, openChannel, type RpcChannel, trust } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { tokenId, tokenRefused } from '../token.ts';
import { memberToWire } from '../wire.ts';
import { makeSlot, type Slot, type SlotKey } from './slot.ts';

const CALL_TIMEOUT_MS = 10_000;

export type Parent = { readonly address: string; readonly serverName: string; readonly federation: TrustDomain };
export type Granted = { readonly slot: Slot; readonly view: trust.FederationView };

export function parentAt(trustRoot: { readonly address: string; readonly serverName?: string | undefined }, federation: TrustDomain): Parent {
  return { address: trustRoot.address, serverName: trustRoot.serverName ?? reservedSni('trust-root', federation), federation };
}

/** Reads what a bootstrap token says of itself. **Throws** IDENTITY_TOKEN_REFUSED: garbage, or for another cluster. */
export function readBootstrapToken(text: string, cluster: string, federation: string): { readonly id: string; readonly pinSha256: string } {
  const token = parseToken(text);
  if (!token.ok) throw tokenRefused(`it is garbage: ${formatProblems(token.problems)}`);
  const { prefix, fields, pinSha256, secretSha256 } = token.value;
  if (prefix !== 'ict') throw tokenRefused('it is a join token, not a cluster’s bootstrap token');
  if (fields['cluster'] !== cluster || fields['federation'] !== federation) {
    throw tokenRefused(`it is for cluster ${fields['cluster'] ?? '?'} of ${fields['federation'] ?? '?'}, this is ${cluster} of ${federation}`);
  }
  return { id: tokenId(secretSha256), pinSha256 };
}

/** Joins by token. The root that answers must have the hash the token carries before anything is sent to it. */
export async function joinParent(parent: Parent, token: string, pinSha256: string, self: Member, key: SlotKey, log: Log): Promise<Granted> {
  const { address, serverName, federation } = parent;
  const root = await fetchPinnedRoot({ address, serverName, pinsSha256: [pinSha256], timeoutMs: CALL_TIMEOUT_MS });
  const bundles = openBundleSet([
    { trustDomain: federation, sequence: 0, refreshHintSeconds: 300, x509Authorities: [root.toString('base64')] },
  ]);
  const channel = openChannel({ address, serverName, expectedId: spiffeIds.trustRoot(federation), bundles, log });
  try {
    const trustDomain = self.trustDomain as TrustDomain;
    const csr = makeCsr({ key: key.key, spiffeId: spiffeIds.authority(trustDomain) });
    const client = channel.client(trust.TrustRootClient);
    const answer = await call(client.joinCluster.bind(client), { token, csr, self: memberToWire(self) }, { timeoutMs: CALL_TIMEOUT_MS });
    const joined = granted(answer, makeSlot(trustDomain, key, answer.chain.map((der) => Buffer.from(der))));
    // The pinned root vouches for the answer; another root in it must stand beside the pinned one.
    const own = joined.view.bundles.find((b) => b.trustDomain === trustDomain)?.x509Authorities ?? [];
    if (![root, joined.slot.root].every((r) => own.some((a) => r.equals(a)))) {
      throw fail('IDENTITY_PARENT_REFUSED', 'the trust root answered with another root certificate than the known one');
    }
    return joined;
  } finally {
    channel.close();
  }
}

/** The one channel a member keeps to its trust root. */
export function openParentChannel(parent: Parent, svids: SvidSource, bundles: BundleSource, log: Log): RpcChannel {
  const { address, serverName, federation } = parent;
  return openChannel({ address, serverName, expectedId: spiffeIds.trustRoot(federation), svids, bundles, log });
}

export async function renewAtParent(channel: RpcChannel, self: Member, key: SlotKey, signal: AbortSignal): Promise<Granted> {
  const trustDomain = self.trustDomain as TrustDomain;
  const csr = makeCsr({ key: key.key, spiffeId: spiffeIds.authority(trustDomain) });
  const client = channel.client(trust.TrustRootClient);
  const answer = await call(client.renewIntermediate.bind(client), { csr, self: memberToWire(self) }, { timeoutMs: CALL_TIMEOUT_MS, signal });
  return granted(answer, makeSlot(trustDomain, key, answer.chain.map((der) => Buffer.from(der))));
}

/** Tells what everybody of this cluster trusts. */
export async function reportToParent(channel: RpcChannel, report: trust.TrustReport, signal: AbortSignal): Promise<void> {
  const client = channel.client(trust.TrustRootClient);
  await call(client.reportTrust.bind(client), report, { timeoutMs: CALL_TIMEOUT_MS, signal });
}

/** Says which keys sign this member's JWT-SVIDs; answers with the view in which they are. */
export function publishAtParent(channel: RpcChannel, keys: readonly JwtAuthority[], signal: AbortSignal): Promise<trust.FederationView> {
  const client = channel.client(trust.TrustRootClient);
  const wire = keys.map(({ keyId, publicKey }) => ({ keyId, publicKey: Buffer.from(publicKey, 'base64') }));
  return call(client.publishJwtKeys.bind(client), { keys: wire }, { timeoutMs: CALL_TIMEOUT_MS, signal });
}

/** Reads views until the stream ends; resolves on a clean end or abort, rejects with the coded failure. */
export function watchParent(channel: RpcChannel, signal: AbortSignal, onView: (view: trust.FederationView) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve();
    const stream = channel.client(trust.TrustRootClient).watchFederation({});
    const onAbort = (): void => stream.cancel();
    const done = (): void => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
    stream.on('data', onView);
    stream.on('end', () => {
      done();
      resolve();
    });
    stream.on('error', (error: Error) => {
      done();
      if (signal.aborted) resolve();
      else reject(fromServiceError(error));
    });
  });
}

function granted(answer: trust.IntermediateResponse, slot: Slot): Granted {
  if (answer.federation === undefined) throw fail('IDENTITY_PARENT_REFUSED', `the trust root answered without the federation’s view`);
  return { slot, view: answer.federation };
}
