// The few calls made to a Kubernetes API server: list in pages, watch, and say how an export stands. Bounded and timed.
import { formatProblems, IsthmusError, messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { Agent, type Dispatcher, request } from '@isthmus/runtime/http';
import { fail } from '../../errors.ts';
import { readTls, readToken } from './access.ts';
import type { Access } from './kubeconfig.ts';
import { type ListPage, parseListPage, parseStatus, parseWatchEvent, type WatchEvent } from './objects.ts';

export type ApiLimits = {
  /** From asking to the answer's head, and for a whole page. */
  readonly answerMs: number;
  /** Largest page of a list. */
  readonly pageBytes: number;
  /** Largest object in a watch; etcd holds none over 1.5 MiB. */
  readonly lineBytes: number;
  /** A watch that is silent for longer is opened anew; API servers send a bookmark about every minute. */
  readonly silenceMs: number;
};

export const DEFAULT_API_LIMITS: ApiLimits = { answerMs: 30_000, pageBytes: 64 * 1024 * 1024, lineBytes: 4 * 1024 * 1024, silenceMs: 150_000 };
const CONNECT_MS = 5_000;
/** Connections at once: a watch holds one each. */
const MAX_CONNECTIONS = 512;

export type Query = Readonly<Record<string, string | number | boolean>>;

export interface KubernetesApi {
  /** One page. **Throws** as `watch`. */
  list(path: string, query: Query, signal: AbortSignal): Promise<ListPage>;
  /**
   * Events until the server ends the watch. `onOpen` is called once it stands. **Throws** DISCOVERY_KUBERNETES_GONE when
   * the version asked for is forgotten, …_REFUSED when the server will not, …_ANSWER when it cannot be understood, …_AWAY else.
   */
  watch(path: string, query: Query, signal: AbortSignal, onOpen: () => void): AsyncGenerator<WatchEvent, void, undefined>;
  /** Server-side apply of one object, or of its status. **Throws** as `watch`. */
  apply(path: string, body: object, query: Query, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Opens a client; connects when first asked. CA, certificate and token are read anew at every call, since all of them rotate. */
export function openKubernetesApi(options: { readonly access: Access; readonly clock: Clock; readonly limits?: Partial<ApiLimits> }): KubernetesApi {
  const { access, clock } = options;
  const limits = { ...DEFAULT_API_LIMITS, ...options.limits };
  let held: { readonly agent: Agent; readonly made: string } | undefined;
  const retiring = new Set<Promise<void>>();

  const connections = async (): Promise<Agent> => {
    const tls = await readTls(access);
    const made = JSON.stringify(tls);
    if (held?.made === made) return held.agent;
    // Watches under the old material go on to their end; new calls show the new.
    const old = held?.agent.close();
    if (old !== undefined) {
      retiring.add(old);
      void old.catch(() => undefined).finally(() => retiring.delete(old));
    }
    const agent = new Agent({ connections: MAX_CONNECTIONS, pipelining: 1, keepAliveTimeout: 10_000, headersTimeout: limits.answerMs, bodyTimeout: limits.silenceMs, connect: { ...tls, timeout: CONNECT_MS } });
    held = { agent, made };
    return agent;
  };

  const ask = async (method: 'GET' | 'PATCH', path: string, query: Query, signal: AbortSignal, body?: string): Promise<Dispatcher.ResponseData> => {
    const dispatcher = await connections();
    const token = await readToken(access);
    const url = `${access.server.replace(/\/$/, '')}${path}?${new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString()}`;
    const headers = {
      accept: 'application/json',
      'user-agent': 'isthmus',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/apply-patch+yaml' }),
    };
    const answer = await request(url, { method, dispatcher, headers, signal, ...(body !== undefined && { body }) });
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer;
    throw refusal(answer.statusCode, path, await statusOf(answer));
  };

  const limited = async <T>(signal: AbortSignal, run: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const limit = new AbortController();
    const timer = clock.setTimer(limits.answerMs, () => limit.abort(new Error(`no whole answer within ${limits.answerMs} ms`)));
    try {
      return await run(AbortSignal.any([signal, limit.signal]));
    } catch (error) {
      throw asAway(error);
    } finally {
      timer.cancel();
    }
  };

  return {
    list: (path, query, signal) =>
      limited(signal, async (whole) => {
        const answer = await ask('GET', path, query, whole);
        const page = parseListPage(parseJson(await textOf(answer.body, limits.pageBytes, path), path));
        if (!page.ok) throw notUnderstood(path, formatProblems(page.problems));
        return page.value;
      }),
    async *watch(path, query, signal, onOpen) {
      try {
        const answer = await ask('GET', path, { ...query, watch: true, allowWatchBookmarks: true }, signal);
        onOpen();
        for await (const line of linesOf(answer.body, limits.lineBytes, path)) {
          const event = parseWatchEvent(parseJson(line, path));
          if (!event.ok) throw notUnderstood(path, formatProblems(event.problems));
          if (event.value.kind === 'error') throw refusal(event.value.code, path, event.value.message);
          yield event.value;
        }
      } catch (error) {
        throw asAway(error);
      }
    },
    apply: (path, body, query, signal) =>
      limited(signal, async (whole) => {
        const answer = await ask('PATCH', path, query, whole, JSON.stringify(body));
        await answer.body.dump();
      }),
    async close() {
      await held?.agent.destroy();
      held = undefined;
    },
  };
}

/** A refusal as an error: 410 means the version asked for is forgotten. */
function refusal(code: number, path: string, message: string): IsthmusError {
  const facts = { status: code, path };
  if (code === 410) return fail('DISCOVERY_KUBERNETES_GONE', `${path}: ${message}`, { facts });
  if (code === 429 || code >= 500) return fail('DISCOVERY_KUBERNETES_AWAY', `${path}: the API server answered ${code}: ${message}`, { facts });
  const hint = code === 403 ? 'give its service account the right (list, watch)' : code === 401 ? 'its token or certificate is not taken' : code === 404 ? 'is that resource installed in the cluster?' : undefined;
  return fail('DISCOVERY_KUBERNETES_REFUSED', `${path}: the API server answered ${code}: ${message}`, { facts, ...(hint !== undefined && { hint }) });
}

function notUnderstood(path: string, why: string): IsthmusError {
  return fail('DISCOVERY_KUBERNETES_ANSWER', `${path}: the answer cannot be understood: ${why.slice(0, 300)}`);
}

function asAway(error: unknown): unknown {
  if (error instanceof IsthmusError) return error;
  return fail('DISCOVERY_KUBERNETES_AWAY', `the API server cannot be reached: ${messageOf(error)}`, { cause: error });
}

async function statusOf(answer: Dispatcher.ResponseData): Promise<string> {
  try {
    return parseStatus(JSON.parse(await textOf(answer.body, 64 * 1024, ''))).message;
  } catch {
    return 'no reason given';
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notUnderstood(path, 'it is no JSON');
  }
}

async function textOf(body: AsyncIterable<Buffer>, maxBytes: number, path: string): Promise<string> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of body) {
    sizeBytes += part.length;
    if (sizeBytes > maxBytes) throw notUnderstood(path, `it is larger than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Lines of a body as they come; what is left without a line's end when the body ends was cut off and counts for nothing. */
export async function* linesOf(body: AsyncIterable<Buffer>, maxBytes: number, path: string): AsyncGenerator<string, void, undefined> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    let rest = chunk;
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
      parts.push(rest.subarray(0, end));
      if (sizeBytes + end > maxBytes) throw notUnderstood(path, `an object is larger than ${maxBytes} bytes`);
      const line = Buffer.concat(parts).toString('utf8');
      parts = [];
      sizeBytes = 0;
      rest = rest.subarray(end + 1);
      if (line.trim() !== '') yield line;
    }
    parts.push(rest);
    sizeBytes += rest.length;
    if (sizeBytes > maxBytes) throw notUnderstood(path, `an object is larger than ${maxBytes} bytes`);
  }
}
