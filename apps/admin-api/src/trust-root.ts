// The federation's trust root as the admin API reaches it: over mutual TLS with this API's own SVID, naming for whom it asks.
import { fail } from '@isthmus/api';
import { DRY_RUN, IDEMPOTENCY_KEY, ON_BEHALF_OF, REQUEST_ID, type RotationDocument } from '@isthmus/identity';
import { parseTrustDomain, reservedSni, spiffeIds, valueOf } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { call, openChannel, trust } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import type { Config } from './config.ts';
import type { Work } from './server.ts';

/** For whom a call is made, and how a write is to be done. */
export type Asking = Pick<Work, 'id' | 'signal'> & { readonly caller: Pick<Work['caller'], 'id'>; readonly write?: { readonly idempotencyKey: string; readonly dryRun: boolean } };

/** Whether a write was done before under its idempotency key, so that it was not done again. */
export type Replayable = { readonly replayed: boolean };

export type RotateBody = { readonly action: string; readonly without?: readonly string[]; readonly compromised?: boolean; readonly holdBefore?: string };

/** Every call **throws** the trust root's own errors, API_TRUST_ROOT_ABSENT where none is configured, RPC_UNAVAILABLE, RPC_TIMEOUT. */
export interface TrustRoot {
  rotation(asking: Asking): Promise<RotationDocument>;
  rotate(body: RotateBody, asking: Asking): Promise<Replayable & { readonly rotation: RotationDocument }>;
  /** Clusters that are fenced: their bundle is there, and empty. */
  federation(asking: Asking): Promise<{ readonly members: readonly string[]; readonly fenced: readonly string[] }>;
  fence(cluster: string, reason: string, asking: Asking): Promise<Replayable>;
  unfence(cluster: string, asking: Asking): Promise<Replayable>;
  createClusterToken(request: { readonly cluster: string; readonly ttlSeconds: number; readonly replace: boolean }, asking: Asking): Promise<Replayable & { readonly id: string; readonly token: string; readonly expiresAtMs: number }>;
  removeCluster(cluster: string, asking: Asking): Promise<Replayable>;
  /** The newest records of its transparency log, oldest first. */
  log(last: number, asking: Asking): Promise<readonly object[]>;
  close(): void;
}

const TIMEOUT_MS = 10_000;

/** Opens the channel; nothing is dialled before the first call. */
export function openTrustRootClient(options: { readonly config: Pick<Config, 'trustRoot' | 'federation'>; readonly svids: SvidSource; readonly bundles: BundleSource; readonly log: Log }): TrustRoot {
  const { config, svids, bundles, log } = options;
  const federation = valueOf(parseTrustDomain(config.federation, 'federation'));
  const serverName = config.trustRoot?.serverName ?? reservedSni('trust-root', federation);
  const channel = config.trustRoot && openChannel({ address: config.trustRoot.address, serverName, expectedId: spiffeIds.trustRoot(federation), svids, bundles, log });
  const client = channel?.client(trust.TrustRootAdminClient);
  const reached = (): trust.TrustRootAdminClient => {
    if (client === undefined) throw fail('API_TRUST_ROOT_ABSENT', 'this admin API does not know where the trust root is', { hint: 'set trustRoot.address in its configuration, or use the command on the trust root’s machine' });
    return client;
  };
  const limit = ({ id, caller, signal, write }: Asking) => ({
    timeoutMs: TIMEOUT_MS,
    signal,
    metadata: { [ON_BEHALF_OF]: caller.id, [REQUEST_ID]: id, ...(write !== undefined && write.idempotencyKey !== '' && { [IDEMPOTENCY_KEY]: write.idempotencyKey }), ...(write?.dryRun === true && { [DRY_RUN]: 'true' }) },
  });
  const read = ({ document }: trust.RotationStatus): RotationDocument => JSON.parse(Buffer.from(document).toString('utf8')) as RotationDocument;
  return {
    rotation: async (asking) => {
      const to = reached();
      return read(await call(to.getRotation.bind(to), {}, limit(asking)));
    },
    rotate: async ({ action, without = [], compromised = false, holdBefore = '' }, asking) => {
      const to = reached();
      const answer = await call(to.rotate.bind(to), { action, without: [...without], compromised, holdBefore }, limit(asking));
      return { rotation: read(answer), replayed: answer.replayed };
    },
    federation: async (asking) => {
      const to = reached();
      const view = await call(to.getFederation.bind(to), {}, limit(asking));
      const isFenced = (trustDomain: string): boolean => view.bundles.some((b) => b.trustDomain === trustDomain && b.x509Authorities.length === 0);
      return { members: view.members.map((m) => m.cluster), fenced: view.members.filter((m) => isFenced(m.trustDomain)).map((m) => m.cluster) };
    },
    fence: async (cluster, reason, asking) => {
      const to = reached();
      return call(to.fenceCluster.bind(to), { cluster, reason }, limit(asking));
    },
    unfence: async (cluster, asking) => {
      const to = reached();
      return call(to.unfenceCluster.bind(to), { cluster }, limit(asking));
    },
    createClusterToken: async (request, asking) => {
      const to = reached();
      const made = await call(to.createClusterToken.bind(to), request, limit(asking));
      return { id: made.id, token: made.token, expiresAtMs: Number(made.expiresAtMs), replayed: made.replayed };
    },
    removeCluster: async (cluster, asking) => {
      const to = reached();
      return call(to.removeCluster.bind(to), { cluster }, limit(asking));
    },
    log: async (last, asking) => {
      const to = reached();
      const { records } = await call(to.getLog.bind(to), { last }, limit(asking));
      return records.map((bytes) => JSON.parse(Buffer.from(bytes).toString('utf8')) as object);
    },
    close: () => channel?.close(),
  };
}
