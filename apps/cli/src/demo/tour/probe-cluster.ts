// A third member cluster that exists only as keys in this process: a true authority of the federation, so that a certificate can be wrong in one point alone.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { clusterTrustDomain, formatProblems, reservedSni, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, makeCsr, makeX509Svid, openBundleSet, parseToken, signIntermediate, signRoot, signSvid, type X509Svid } from '@isthmus/pki';
import { call, fetchPinnedRoot, openChannel, trust } from '@isthmus/rpc';
import { systemClock } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { fail } from '../../errors.ts';
import type { Federation } from '../federation.ts';
import { names } from '../topology.ts';

export interface ProbeCluster {
  readonly trustDomain: TrustDomain;
  /** Signs whatever it is asked to, as a cluster that lost its mind would. */
  sign(spiffeId: SpiffeId, life: { readonly nowMs: number; readonly ttlMs: number }): X509Svid;
  /** Ends its membership. */
  leave(): Promise<void>;
}

const CLUSTER = 'probe';
const TIMEOUT_MS = 5_000;

/** Joins the federation as cluster `probe`: a token, a key made here, an intermediate signed by the real root. */
export async function openProbeCluster(federation: Federation): Promise<ProbeCluster> {
  const { federation: federationName } = federation.options.topology;
  const trustDomain = clusterTrustDomain(CLUSTER, federationName);
  const token = await federation.trustRootAdmin().createClusterToken(CLUSTER, { replace: true });
  const parsed = parseToken(token);
  if (!parsed.ok) throw fail('CLI_CHECK_FAILED', `the trust root made a token that does not parse: ${formatProblems(parsed.problems)}`);
  const address = `127.0.0.1:${federation.port(names.trustRoot)}`;
  const serverName = reservedSni('trust-root', federationName);
  const root = await fetchPinnedRoot({ address, serverName, pinsSha256: [parsed.value.pinSha256], timeoutMs: TIMEOUT_MS });
  const bundles = openBundleSet([{ trustDomain: federationName, sequence: 1, refreshHintSeconds: 60, x509Authorities: [root.toString('base64')] }]);
  const channel = openChannel({ address, serverName, expectedId: spiffeIds.trustRoot(federationName), bundles, log: silentLog() });
  const key = generateKey();
  try {
    const client = channel.client(trust.TrustRootClient);
    const self = { cluster: CLUSTER, trustDomain, locality: '', gateways: [] };
    const csr = makeCsr({ key, spiffeId: spiffeIds.authority(trustDomain) });
    const { chain } = await call(client.joinCluster.bind(client), { token, csr, self }, { timeoutMs: TIMEOUT_MS });
    const [intermediate] = chain;
    if (intermediate === undefined) throw fail('CLI_CHECK_FAILED', 'the trust root answered without an intermediate');
    return {
      trustDomain,
      sign: (spiffeId, life) => issue({ cert: Buffer.from(intermediate), key }, spiffeId, life),
      leave: () => federation.trustRootAdmin().removeCluster(CLUSTER),
    };
  } finally {
    channel.close();
  }
}

/** An SVID of the ID asked for whose chain ends in a root nobody here knows. */
export function foreignSvid(spiffeId: SpiffeId, federation: TrustDomain, trustDomain: TrustDomain): X509Svid {
  const life = { nowMs: systemClock.nowMs(), ttlMs: 3_600_000 };
  const rootKey = generateKey();
  const key = generateKey();
  const root = signRoot({ key: rootKey, federation, ...life });
  const intermediate = signIntermediate({ issuer: { cert: root, key: rootKey }, publicKey: createPublicKey(key), trustDomain, ...life });
  return issue({ cert: intermediate, key }, spiffeId, life);
}

function issue(issuer: { readonly cert: Buffer; readonly key: KeyObject }, spiffeId: SpiffeId, life: { readonly nowMs: number; readonly ttlMs: number }): X509Svid {
  const key = generateKey();
  return makeX509Svid([signSvid({ issuer, publicKey: createPublicKey(key), spiffeId, ...life }), issuer.cert], key);
}
