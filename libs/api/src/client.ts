// A client made from the contract: any route by its id, answers checked for their form, problems as IsthmusErrors.
import { ERROR_CLASSES, type ErrorClass, IsthmusError, messageOf } from '@isthmus/model';
import { type Route, routeOf } from './contract/route.ts';
import { fail } from './errors.ts';
import { readEvents } from './sse.ts';

/** The part of `fetch` the client uses; it brings the caller's identity with it. */
export type Fetch = (url: string, init: { readonly method: string; readonly headers: Record<string, string>; readonly body?: string; readonly signal?: AbortSignal }) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
  readonly body: unknown;
}>;

export type ApiRequest = {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  /** The ETag a write was made for, or `*`. */
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: '*' | undefined;
  readonly idempotencyKey?: string | undefined;
  readonly signal?: AbortSignal;
};

export type Answer<T> = { readonly status: number; readonly value: T; readonly etag: string | undefined };
export type Item<T = Readonly<Record<string, unknown>>> = { readonly key: string; readonly etag: string; readonly document: T };
export type Page = { readonly cluster: string; readonly items: readonly Item[]; readonly next?: string; readonly ageMs?: number };

/** What a watch tells: things there are and that changed, keys that are gone, and how current it is. */
export type WatchEvent =
  | ({ readonly kind: 'put' } & Item)
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'synced' | 'unknown' | 'known' };

export interface ApiClient {
  /** Calls a route. **Throws** the server's own IsthmusError, API_UNREACHABLE, API_ANSWER_INVALID. */
  call<T = unknown>(id: string, request?: ApiRequest): Promise<Answer<T>>;
  /** Every item of a list, page by page. */
  list(id: string, request?: ApiRequest): AsyncGenerator<Item, void, undefined>;
  /** Streams a list and its changes until the signal ends it or the connection breaks. */
  watch(id: string, request: ApiRequest): AsyncGenerator<WatchEvent, void, undefined>;
}

/** A client of the admin API at `baseUrl`; `headers` go with each request. */
export function openApiClient(options: { readonly baseUrl: string; readonly fetch: Fetch; readonly headers?: Readonly<Record<string, string>> }): ApiClient {
  const send = async (route: Route, request: ApiRequest, accept: string) => {
    const headers: Record<string, string> = { ...options.headers, accept };
    if (request.body !== undefined) headers['content-type'] = 'application/json';
    if (request.ifMatch !== undefined) headers['if-match'] = request.ifMatch;
    if (request.ifNoneMatch !== undefined) headers['if-none-match'] = request.ifNoneMatch;
    if (request.idempotencyKey !== undefined) headers['idempotency-key'] = request.idempotencyKey;
    const url = `${options.baseUrl}${pathOf(route, request)}`;
    const init = { method: route.method, headers, ...(request.body !== undefined && { body: JSON.stringify(request.body) }), ...(request.signal && { signal: request.signal }) };
    try {
      return await options.fetch(url, init);
    } catch (error) {
      throw error instanceof IsthmusError ? error : fail('API_UNREACHABLE', `the admin API at ${options.baseUrl} cannot be reached: ${reasonOf(error)}`, { cause: error });
    }
  };
  const client: ApiClient = {
    call: async <T>(id: string, request: ApiRequest = {}) => {
      const answer = await send(routeOf(id), request, 'application/json');
      const text = await answer.text();
      if (answer.status >= 400) throw toError(answer.status, text);
      return { status: answer.status, value: parse(text) as T, etag: answer.headers.get('etag') ?? undefined };
    },
    async *list(id, request = {}) {
      let cursor: string | undefined;
      do {
        const { value } = await client.call<Page>(id, { ...request, query: { ...request.query, ...(cursor !== undefined && { cursor }) } });
        yield* value.items;
        cursor = value.next;
      } while (cursor !== undefined);
    },
    async *watch(id, request) {
      const answer = await send(routeOf(id), { ...request, query: { ...request.query, watch: 'true' } }, 'text/event-stream');
      if (answer.status >= 400) throw toError(answer.status, await answer.text());
      for await (const { event, data } of readEvents(answer.body as AsyncIterable<Uint8Array>)) {
        if (event === 'put') yield { kind: 'put', ...(parse(data) as Item) };
        else if (event === 'delete') yield { kind: 'delete', key: (parse(data) as { key: string }).key };
        else if (event === 'synced' || event === 'unknown' || event === 'known') yield { kind: event };
        else if (event === 'problem') throw toError(503, data);
      }
    },
  };
  return client;
}

function pathOf(route: Route, request: ApiRequest): string {
  const path = route.path.replace(/\{(\w+)\}/g, (_whole, name: string) => {
    const value = request.params?.[name];
    if (value === undefined) throw new TypeError(`${route.id} needs the parameter ${name}`);
    return encodeURIComponent(value);
  });
  const query = new URLSearchParams(Object.entries(request.query ?? {}).filter((e): e is [string, string] => e[1] !== undefined)).toString();
  return query === '' ? path : `${path}?${query}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw fail('API_ANSWER_INVALID', 'the answer is not JSON');
  }
}

/** A problem document as the error it was made from; anything else by its status. */
function toError(status: number, text: string): IsthmusError {
  const byStatus = (Object.entries(ERROR_CLASSES) as [ErrorClass, { http: number }][]).find(([, c]) => c.http === status)?.[0] ?? (status === 412 ? 'conflict' : status < 500 ? 'invalid' : 'internal');
  try {
    const problem = JSON.parse(text) as { code?: unknown; detail?: unknown; hint?: unknown };
    if (typeof problem.code === 'string' && typeof problem.detail === 'string') {
      return new IsthmusError(problem.code, byStatus, problem.detail, { facts: { status }, ...(typeof problem.hint === 'string' && { hint: problem.hint }) });
    }
  } catch {
    // Not a problem document: whoever answered is no admin API.
  }
  return fail('API_ANSWER_INVALID', `the answer is ${status} without a problem document`, { facts: { status } });
}

function reasonOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? `${messageOf(error)}: ${messageOf(error.cause)}` : messageOf(error);
}
