// The admin API as commands use it: the same face as the local socket's, over mutual TLS with the context's identity.
import { randomUUID } from 'node:crypto';
import { type ApiClient, type Fetch, openApiClient } from '@isthmus/api';
import type { SpiffeTls } from '@isthmus/rpc';
import { clusterTrustDomain, IsthmusError, reservedSni, spiffeIds } from '@isthmus/model';
import type { AdminApi, Document } from './admin.ts';
import type { ApiContext, BearerSource } from './contexts.ts';
import { fail } from './errors.ts';

const HEADERS_TIMEOUT_MS = 30_000;

/** What lists each kind, by the word the local socket knows it by. */
const LISTS: Readonly<Record<string, string>> = {
  service: 'listServices', export: 'listExports', workload: 'listWorkloads', import: 'listImports', peer: 'listPeers', proxy: 'listProxies', agent: 'listAgents', gateway: 'listGateways', drain: 'listDrains',
  certificate: 'listCertificates', bundle: 'listBundles', 'join-token': 'listJoinTokens', entry: 'listEntries', member: 'listClusters', 'federated-trust-domain': 'listForeignTrustDomains', ban: 'listBans',
};
const WRITES: Readonly<Record<string, { readonly put: string; readonly get: string; readonly remove: string }>> = {
  service: { put: 'putServices', get: 'getServices', remove: 'deleteServices' },
  export: { put: 'putExports', get: 'getExports', remove: 'deleteExports' },
  drain: { put: 'putDrains', get: 'getDrains', remove: 'deleteDrains' },
  'federated-trust-domain': { put: 'putForeignTrustDomains', get: 'getForeignTrustDomains', remove: 'deleteForeignTrustDomains' },
};

/** The routes of the API in the words of the local socket; `cluster` is the one meant. */
export function apiAsAdmin(client: ApiClient, cluster: string): AdminApi {
  const writeOf = (kind: string) => {
    const found = Object.hasOwn(WRITES, kind) ? WRITES[kind] : undefined;
    if (found === undefined) throw fail('CLI_BAD_INPUT', `nothing of kind ${JSON.stringify(kind)} can be written`);
    return found;
  };
  const known = async <T>(call: Promise<T>): Promise<T | undefined> =>
    call.catch((error: unknown) => {
      if (error instanceof IsthmusError && error.class === 'not-found') return undefined;
      throw error;
    });
  return {
    apply: async (document, options = {}) => {
      const { kind, namespace, name, trustDomain, role } = document as Record<string, string>;
      const request = { params: { cluster, namespace: namespace ?? '', name: name ?? '', trustDomain: trustDomain ?? '', role: role ?? '' }, body: document, ...(options.dryRun === true && { query: { dryRun: 'true' } }) };
      const { value } = await client.call<{ changed: boolean }>(writeOf(kind ?? '').put, request);
      return { changed: value.changed };
    },
    delete: async (kind, namespace, name) => {
      const params = { cluster, namespace, name, id: name, role: kind === 'drain' ? namespace : kind, agent: name, trustDomain: name };
      const id = kind === 'join-token' ? 'deleteJoinTokens' : kind === 'agent' || kind === 'gateway' || kind === 'operator' ? 'deleteEntries' : writeOf(kind).remove;
      return { existed: (await known(client.call(id, { params }))) !== undefined };
    },
    get: async (kind, namespace, name) => (await known(client.call<Document>(writeOf(kind).get, { params: { cluster, namespace, name, trustDomain: name, role: namespace } })))?.value,
    list: async (kind, namespace = '') => {
      const id = Object.hasOwn(LISTS, kind) ? LISTS[kind] : undefined;
      if (id === undefined) throw fail('CLI_BAD_INPUT', `there is no list of ${JSON.stringify(kind)}`);
      const documents: Document[] = [];
      for await (const item of client.list(id, { params: { cluster }, ...(namespace !== '' && { query: { namespace } }) })) documents.push(item.document);
      return documents;
    },
    createJoinToken: async ({ agent, role, services, ttlSeconds }) => {
      // A key of its own: a retry below this call cannot make a second token.
      const { value } = await client.call<{ token?: string; id: string; expiresAtMs: number }>('createJoinTokens', { params: { cluster }, body: { agent, role, services, ttlSeconds }, idempotencyKey: randomUUID() });
      return { token: value.token ?? '', id: value.id, expiresAtMs: value.expiresAtMs };
    },
    readmit: async (agent) => ({ existed: (await known(client.call('readmitAgent', { params: { cluster }, body: { agent }, idempotencyKey: randomUUID() }))) !== undefined }),
    ban: async ({ kind, namespace, name, reason }) => {
      const body = { kind, name, ...(namespace !== '' && { namespace }), ...(reason !== '' && { reason }) };
      return (await client.call('createBan', { params: { cluster }, body, idempotencyKey: randomUUID() })).value;
    },
    unban: async ({ kind, namespace, name }) => {
      const path = kind !== 'service' ? `/${kind}/${name}` : `/ns/${namespace}/svc/${name}`;
      for await (const { key, document } of client.list('listBans', { params: { cluster } })) {
        if (document['lifted'] === true || !String(document['spiffeId']).endsWith(path)) continue;
        return { existed: (await known(client.call('deleteBan', { params: { cluster, ban: key } }))) !== undefined };
      }
      return { existed: false };
    },
    status: async () => (await client.call<Document>('getStatus', { params: { cluster } })).value,
  };
}

/** Proves itself anew, on new connections: while the root is replaced, what was proven before ends with the old one. */
export type Renew = () => Promise<void>;

/** Opens the context's identity and a client of its admin API, hands it to `use`, closes both. */
export async function withApi<T>(context: ApiContext, use: (client: ApiClient, renew: Renew) => Promise<T>): Promise<T> {
  const { bearer } = context;
  if (bearer !== undefined) return withBearer({ ...context, bearer }, use);
  const identity = await openIdentity(context);
  const connection = await openConnection(context, identity);
  try {
    return await use(openApiClient({ baseUrl: `https://${context.api}`, fetch: connection.fetch }), async () => {
      await identity.renewNow();
      await connection.renew();
    });
  } finally {
    await connection.close();
    await identity.close();
  }
}

/** The same with a token instead of a certificate: the server still proves itself by its SVID. */
async function withBearer<T>(context: ApiContext & { readonly bearer: BearerSource }, use: (client: ApiClient, renew: Renew) => Promise<T>): Promise<T> {
  const { bearerToken, contextBundles } = await import('./bearer.ts');
  const trustDomain = clusterTrustDomain(context.cluster, context.federation);
  const [token, { bundles, renew }] = await Promise.all([bearerToken(context), contextBundles(context)]);
  const connection = await openConnection(context, { bundles });
  const client = openApiClient({ baseUrl: `https://${context.api}`, fetch: connection.fetch, headers: { authorization: `Bearer ${token}` } });
  const bundleNow = async (): Promise<string> => (await client.call<{ readonly document: string }>('getBundleDocument', { params: { cluster: context.cluster, trustDomain } })).value.document;
  try {
    const done = await use(client, async () => {
      await renew(bundleNow, { isForced: true });
      await connection.renew();
    });
    await renew(bundleNow);
    return done;
  } finally {
    await connection.close();
  }
}

/** Connections to the context's admin API; `renew` lets the open ones go. */
async function openConnection(context: ApiContext, proof: Pick<SpiffeTls, 'svids' | 'bundles'>): Promise<{ readonly fetch: Fetch; readonly renew: Renew; readonly close: () => Promise<void> }> {
  const [{ dialTls }, { openFetch }] = await Promise.all([import('@isthmus/rpc'), import('@isthmus/runtime/http')]);
  const trustDomain = clusterTrustDomain(context.cluster, context.federation);
  const tls = { serverName: reservedSni('admin', trustDomain), expectedId: spiffeIds.adminApi(trustDomain), ...proof };
  const open = () => openFetch(() => dialTls([context.api], tls, 'http/1.1'), { headersTimeoutMs: HEADERS_TIMEOUT_MS });
  let current = open();
  return {
    fetch: (url, init) => current.fetch(url, init),
    renew: async () => {
      const before = current;
      current = open();
      await before.close();
    },
    close: () => current.close(),
  };
}

/** The identity of a context: resumed from disk, renewed where it is past its half, joined by token where one is given. */
export async function openIdentity(context: Pick<ApiContext, 'server' | 'identityDir'>, token?: string) {
  const [{ joinOrResume }, { systemClock, systemRandom }, { silentLog }] = await Promise.all([import('@isthmus/identity'), import('@isthmus/runtime'), import('@isthmus/telemetry')]);
  const parts = { clock: systemClock, random: systemRandom, log: silentLog() };
  const identity = await joinOrResume({ stateDir: context.identityDir, server: { address: context.server }, token, joinTimeoutMs: 5_000, ...parts }).catch((error: unknown) => {
    if (!(error instanceof IsthmusError) || error.code !== 'IDENTITY_NO_IDENTITY') throw error;
    throw fail('CLI_LOGGED_OUT', 'the login has run out', { hint: 'get a new token and run `isthmus login`', cause: error });
  });
  const svid = identity.svids.current();
  if (svid !== undefined && systemClock.nowMs() > (svid.notBeforeMs + svid.expiresAtMs) / 2) await identity.renewNow();
  return identity;
}
