// Requests for another cluster: sent to its admin API through its gateways, by reserved name, for the person who asked.
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { fail } from '@isthmus/api';
import { IsthmusError, messageOf, reservedSni, spiffeIds, type TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { dialTls } from '@isthmus/rpc';
import { type ConnectedFetch, openFetch } from '@isthmus/runtime/http';
import { CLAIMS, claimsHeader, ON_BEHALF_OF } from './auth/caller.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Answered, Work } from './server.ts';

export interface Forward {
  /** Sends the request on and answers what comes back. **Throws** API_CLUSTER_UNKNOWN, API_CLUSTER_UNREACHABLE. */
  request(cluster: string, work: Work): Promise<Answered>;
  /** Reads one path there for the same caller. **Throws** the same, and the refusal of that cluster. */
  get(cluster: string, path: string, work: Work): Promise<object>;
  close(): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 10_000;
const PASSED_ON = ['content-type', 'if-match', 'if-none-match', 'idempotency-key', 'accept'];
const PASSED_BACK = ['content-type', 'etag', 'idempotent-replayed', 'allow', 'retry-after', 'isthmus-request', 'cache-control'];

export function openForward(options: { readonly controlPlane: ControlPlane; readonly svids: SvidSource; readonly bundles: BundleSource }): Forward {
  const { controlPlane, svids, bundles } = options;
  const fetches = new Map<string, { readonly to: ConnectedFetch; gateways: readonly string[] }>();

  /** One pool for each cluster; it dials the gateways the member has at that moment. */
  const fetchOf = async (cluster: string): Promise<ConnectedFetch['fetch']> => {
    const member = (await controlPlane.get('member', cluster))?.document;
    if (member === undefined) throw fail('API_CLUSTER_UNKNOWN', `no cluster ${cluster} is a member of the federation`);
    const trustDomain = String(member['trustDomain']) as TrustDomain;
    const gateways = Array.isArray(member['gateways']) ? member['gateways'].map(String) : [];
    const known = fetches.get(cluster);
    if (known !== undefined) {
      known.gateways = gateways;
      return known.to.fetch;
    }
    const tls = { serverName: reservedSni('admin', trustDomain), expectedId: spiffeIds.adminApi(trustDomain), svids, bundles };
    const to = openFetch(() => dialTls(fetches.get(cluster)?.gateways ?? gateways, tls, 'http/1.1'), { headersTimeoutMs: HEADERS_TIMEOUT_MS });
    fetches.set(cluster, { to, gateways });
    return to.fetch;
  };

  const send = async (cluster: string, path: string, work: Work, init: { readonly method: string; readonly headers: Record<string, string>; readonly body?: Uint8Array | undefined }) => {
    const fetch = await fetchOf(cluster);
    const claims = work.caller.claims && claimsHeader(work.caller.claims);
    try {
      return await fetch(`https://admin.${cluster}${path}`, { method: init.method, headers: { ...init.headers, [ON_BEHALF_OF]: work.caller.id, ...(claims !== undefined && { [CLAIMS]: claims }) }, ...(init.body && { body: init.body }), signal: work.signal });
    } catch (error) {
      if (error instanceof IsthmusError) throw error;
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
      throw fail('API_CLUSTER_UNREACHABLE', `cluster ${cluster} cannot be reached: ${messageOf(cause)}`, { hint: 'what it owns cannot be changed or read until it answers; other clusters can', cause: error });
    }
  };

  return {
    request: async (cluster, work) => {
      const headers: Record<string, string> = {};
      for (const name of PASSED_ON) {
        const value = work.headers[name];
        if (typeof value === 'string') headers[name] = value;
      }
      const answer = await send(cluster, work.url, work, { method: work.route.method, headers, body: work.rawBody && new Uint8Array(work.rawBody) });
      const back: Record<string, string> = { 'isthmus-answered-by': cluster };
      for (const name of PASSED_BACK) {
        const value = answer.headers.get(name);
        if (value !== null) back[name] = value;
      }
      if (back['content-type']?.startsWith('text/event-stream') !== true) {
        const text = await answer.text();
        if (answer.status >= 400) throw problemOf(text, answer.status);
        return { status: answer.status, value: JSON.parse(text) as unknown, headers: back };
      }
      work.reply.hijack();
      work.reply.raw.writeHead(answer.status, back);
      if (answer.body !== null) await pipeline(Readable.fromWeb(answer.body as Parameters<typeof Readable.fromWeb>[0]), work.reply.raw).catch(() => undefined);
      return 'streamed';
    },
    get: async (cluster, path, work) => {
      const answer = await send(cluster, path, work, { method: 'GET', headers: { accept: 'application/json' } });
      const text = await answer.text();
      if (answer.status >= 400) throw problemOf(text, answer.status);
      return JSON.parse(text) as object;
    },
    close: async () => void (await Promise.all([...fetches.values()].map(({ to }) => to.close()))),
  };
}

/** The other cluster's own problem, so that the caller reads what it said. */
function problemOf(text: string, status: number): IsthmusError {
  try {
    const { code, detail, hint } = JSON.parse(text) as { code: string; detail: string; hint?: string };
    const byStatus = { 400: 'invalid', 401: 'unauthenticated', 403: 'denied', 404: 'not-found', 409: 'conflict', 412: 'conflict', 429: 'exhausted', 503: 'unavailable', 504: 'timeout' } as const;
    return new IsthmusError(code, byStatus[status as keyof typeof byStatus] ?? 'invalid', detail, hint === undefined ? {} : { hint });
  } catch {
    return fail('API_ANSWER_INVALID', `the other cluster answered ${status} without a problem document`);
  }
}
