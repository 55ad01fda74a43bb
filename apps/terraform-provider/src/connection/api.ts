// The admin API and the trust root as resources use them: dialled at the first need, proven by SPIFFE ID, each call with retries and an end.
import { X509Certificate } from 'node:crypto';
import { type ApiRequest, type Fetch, type Item, openApiClient } from '@isthmus/api';
import { clusterTrustDomain, IsthmusError, messageOf, reservedSni, spiffeIds } from '@isthmus/model';
import { fixedSvidSource, importKeyPem, makeX509Svid, openBundleSet, type SvidSource } from '@isthmus/pki';
import { dialTls } from '@isthmus/rpc';
import { type Clock, type Random, RetryBudget } from '@isthmus/runtime';
import { openFetch } from '@isthmus/runtime/http';
import { fail } from '../errors.ts';
import { membershipAtSocket, type Membership, membershipOverApi } from './membership.ts';
import { withRetries } from './retry.ts';
import type { Settings } from './settings.ts';

const HEADERS_TIMEOUT_MS = 15_000;
/** Retries of all resources together: a fifth of the calls, and two a second however few those are. */
const BUDGET = { ratio: 0.2, minPerSecond: 2, windowMs: 10_000 };

export type CallAnswer<T> = { readonly value: T; readonly etag: string | undefined };

/** What resources call. Everything throws the API's own errors, and the signal's reason when that ends it. */
export interface Api {
  /** The cluster of those that name none. */
  readonly cluster: string | undefined;
  /** **Throws** TERRAFORM_NOT_CONFIGURED where it was not given. */
  federation(): string;
  /** A call by its route. Writes must bring an idempotency key, since they are made again when no answer came. */
  call<T>(id: string, request: ApiRequest, signal: AbortSignal): Promise<CallAnswer<T>>;
  /** Every item of a list. */
  list(id: string, request: ApiRequest, signal: AbortSignal): Promise<readonly Item[]>;
  readonly membership: Membership;
  close(): Promise<void>;
}

/** **Throws** TERRAFORM_CONFIG_INVALID for a certificate or key that is none. */
export function openApi(settings: Settings, parts: { readonly clock: Clock; readonly random: Random }): Api {
  const retry = { ...parts, budget: new RetryBudget({ ...BUDGET, clock: parts.clock }) };
  const svids = identityOf(settings);
  const roots = settings.caPem === undefined ? [] : certificates(settings.caPem, 'ca_certificate');
  let opened: ReturnType<typeof dial> | undefined;
  let { token } = settings;
  const client = (): ReturnType<typeof dial>['client'] => (opened ??= dial(settings, roots, svids, () => token)).client;
  const once = async <T>(id: string, request: ApiRequest, signal: AbortSignal): Promise<CallAnswer<T>> => {
    const used = token;
    try {
      return await client().call<T>(id, { ...request, signal }).catch(async (error: unknown) => {
        if (!(error instanceof IsthmusError) || error.class !== 'unauthenticated' || settings.readToken === undefined) throw error;
        // A long apply outlives a short token: whatever renews the file may have done so by now.
        const now = token === used ? await settings.readToken() : token;
        if (now === used) throw error;
        token = now;
        return client().call<T>(id, { ...request, signal });
      });
    } catch (error) {
      // The client tells a broken connection; that we broke it ourselves is said by the signal.
      throw signal.aborted ? signal.reason : error;
    }
  };
  const send = <T>(id: string, request: ApiRequest, signal: AbortSignal): Promise<CallAnswer<T>> => withRetries(() => once<T>(id, request, signal), retry, signal);
  const api: Omit<Api, 'membership'> = {
    cluster: settings.cluster,
    federation: () => settings.federation ?? lacking('federation'),
    call: send,
    list: async (id, request, signal) => {
      const items: Item[] = [];
      let cursor: string | undefined;
      do {
        const { value } = await send<{ readonly items: readonly Item[]; readonly next?: string }>(id, { ...request, query: { ...request.query, cursor } }, signal);
        items.push(...value.items);
        cursor = value.next;
      } while (cursor !== undefined);
      return items;
    },
    close: async () => opened?.close(),
  };
  return { ...api, membership: settings.trustRootSocket === undefined ? membershipOverApi(api) : membershipAtSocket(settings.trustRootSocket) };
}

function dial(settings: Settings, roots: readonly X509Certificate[], svids: SvidSource | undefined, token: () => string | undefined) {
  const federation = settings.federation ?? lacking('federation');
  const cluster = settings.cluster ?? lacking('cluster');
  const { endpoints } = settings;
  if (endpoints.length === 0) lacking('endpoints');
  if (roots.length === 0) lacking('ca_certificate');
  if (svids === undefined && token() === undefined) lacking('client_certificate');
  const trustDomain = clusterTrustDomain(cluster, federation);
  const bundles = openBundleSet([{ trustDomain, sequence: 1, refreshHintSeconds: 3_600, x509Authorities: roots.map((root) => root.raw.toString('base64')) }]);
  const tls = { serverName: reservedSni('admin', trustDomain), expectedId: spiffeIds.adminApi(trustDomain), bundles, ...(svids && { svids }) };
  const { fetch, close } = openFetch(() => dialTls(endpoints, tls, 'http/1.1'), { headersTimeoutMs: HEADERS_TIMEOUT_MS });
  const withToken: Fetch = (url, init) => {
    const bearer = token();
    return fetch(url, bearer === undefined ? init : { ...init, headers: { ...init.headers, authorization: `Bearer ${bearer}` } });
  };
  return { client: openApiClient({ baseUrl: `https://${tls.serverName}`, fetch: withToken }), close };
}

function lacking(attribute: string): never {
  throw fail('TERRAFORM_NOT_CONFIGURED', `the provider needs ${attribute}`, { hint: `set it in the provider block, or ISTHMUS_${attribute.toUpperCase()}` });
}

function identityOf({ clientCertPem, clientKeyPem }: Settings): SvidSource | undefined {
  if (clientCertPem === undefined && clientKeyPem === undefined) return undefined;
  if (clientCertPem === undefined) throw fail('TERRAFORM_CONFIG_INVALID', 'client_certificate: is missing beside client_key');
  if (clientKeyPem === undefined) throw fail('TERRAFORM_CONFIG_INVALID', 'client_key: is missing beside client_certificate');
  const chain = certificates(clientCertPem, 'client_certificate').map((certificate) => certificate.raw);
  try {
    return fixedSvidSource(makeX509Svid(chain, importKeyPem(clientKeyPem)));
  } catch (error) {
    throw fail('TERRAFORM_CONFIG_INVALID', `client_certificate and client_key: ${messageOf(error)}`, { cause: error });
  }
}

function certificates(pem: string, attribute: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw fail('TERRAFORM_CONFIG_INVALID', `${attribute}: holds no certificate in PEM`);
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw fail('TERRAFORM_CONFIG_INVALID', `${attribute}: certificate ${i + 1} does not parse: ${messageOf(error)}`, { cause: error });
    }
  });
}
