// A small API server for tests that misbehaves on demand: lists in pages, watches, forgets, breaks off. Real ones are in tests/interop.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type ApiObject = { readonly metadata: { readonly namespace: string; readonly name: string; readonly [field: string]: unknown }; readonly [field: string]: unknown };
/** What it does to a request instead of answering it; undefined lets it through. */
export type Mischief = (request: { readonly path: string; readonly isWatch: boolean; readonly query: URLSearchParams }, response: ServerResponse) => boolean;

export type ScriptedApiServer = {
  readonly url: string;
  readonly asked: { readonly path: string; readonly query: URLSearchParams; readonly authorization: string }[];
  readonly applied: { readonly path: string; readonly body: unknown }[];
  mischief: Mischief | undefined;
  put(path: string, object: ApiObject): void;
  delete(path: string, namespace: string, name: string): void;
  /** Forgets history and ends every watch with 410, as after a compaction. */
  forget(): void;
  /** Cuts every connection. */
  cut(): void;
  watches(): number;
  close(): Promise<void>;
};

type Stored = { readonly path: string; readonly object: ApiObject; readonly version: number };
type Happened = { readonly path: string; readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: object; readonly version: number };

export async function startScriptedApiServer(): Promise<ScriptedApiServer> {
  const objects = new Map<string, Stored>();
  const history: Happened[] = [];
  const watches = new Map<ServerResponse, string>();
  let version = 100;
  let oldest = 100;

  const versioned = (object: ApiObject, at: number): ApiObject => ({ ...object, metadata: { ...object.metadata, resourceVersion: String(at) } });
  const happen = (event: Happened): void => {
    history.push(event);
    for (const [response, path] of watches) if (path === event.path) response.write(`${JSON.stringify({ type: event.type, object: event.object })}\n`);
  };

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://x');
    const [path, query] = [url.pathname, url.searchParams];
    const isWatch = query.get('watch') === 'true';
    made.asked.push({ path, query, authorization: request.headers.authorization ?? '' });
    if (made.mischief?.({ path, isWatch, query }, response) === true) return;
    if (request.method === 'PATCH') void take(request, response, path);
    else if (isWatch) watch(response, path, Number(query.get('resourceVersion')));
    else list(response, path, query);
  });

  async function take(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    made.applied.push({ path, body: JSON.parse(Buffer.concat(parts).toString('utf8')) });
    response.end('{}');
  }

  function list(response: ServerResponse, path: string, query: URLSearchParams): void {
    const all = [...objects.values()].filter((s) => s.path === path).sort((a, b) => (a.object.metadata.name < b.object.metadata.name ? -1 : 1));
    const from = Number(query.get('continue') ?? 0);
    const end = query.has('limit') ? from + Number(query.get('limit')) : all.length;
    const items = all.slice(from, end).map((s) => versioned(s.object, s.version));
    response.end(JSON.stringify({ metadata: { resourceVersion: String(version), ...(end < all.length && { continue: String(end) }) }, items }));
  }

  function watch(response: ServerResponse, path: string, from: number): void {
    if (from < oldest) return void response.writeHead(410).end(JSON.stringify({ kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' }));
    response.writeHead(200, { 'content-type': 'application/json' });
    for (const event of history) if (event.path === path && event.version > from) response.write(`${JSON.stringify({ type: event.type, object: event.object })}\n`);
    response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(version) } } })}\n`);
    watches.set(response, path);
    response.on('close', () => watches.delete(response));
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const made: ScriptedApiServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    applied: [],
    mischief: undefined,
    put(path, object) {
      const key = `${path} ${object.metadata.namespace}/${object.metadata.name}`;
      version += 1;
      const type = objects.has(key) ? 'MODIFIED' : 'ADDED';
      objects.set(key, { path, object, version });
      happen({ path, type, object: versioned(object, version), version });
    },
    delete(path, namespace, name) {
      const key = `${path} ${namespace}/${name}`;
      const stored = objects.get(key);
      if (stored === undefined) return;
      version += 1;
      objects.delete(key);
      happen({ path, type: 'DELETED', object: versioned(stored.object, version), version });
    },
    forget() {
      version += 1;
      oldest = version;
      history.length = 0;
      for (const response of watches.keys()) response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' } })}\n`);
    },
    cut: () => server.closeAllConnections(),
    watches: () => watches.size,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return made;
}

/** A Service as an API server has it. */
export function aKubeService(name: string, over: { readonly namespace?: string; readonly labels?: object; readonly spec?: object } = {}): ApiObject {
  return { metadata: { namespace: over.namespace ?? 'shop', name, ...(over.labels && { labels: over.labels }) }, spec: { type: 'ClusterIP', clusterIP: '10.96.0.10', ports: [{ name: 'http', port: 80, protocol: 'TCP' }], ...over.spec } };
}

/** A ServiceExport. */
export function aServiceExport(name: string, metadata: object = {}): ApiObject {
  return { metadata: { namespace: 'shop', name, creationTimestamp: '2026-01-01T00:00:00Z', generation: 1, ...metadata } };
}

/** An EndpointSlice of a Service. */
export function aSlice(service: string, endpoints: readonly object[], over: { readonly name?: string; readonly labels?: object; readonly fields?: object } = {}): ApiObject {
  return {
    metadata: { namespace: 'shop', name: over.name ?? `${service}-abc`, labels: { 'kubernetes.io/service-name': service, ...over.labels } },
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', port: 8_080, protocol: 'TCP' }],
    ...over.fields,
  };
}

/** An endpoint that is a pod. */
export function aPod(pod: string, address: string, over: object = {}): object {
  return { addresses: [address], conditions: { ready: true, serving: true, terminating: false }, nodeName: 'node-1', zone: 'eu-a', targetRef: { kind: 'Pod', name: pod, namespace: 'shop' }, ...over };
}
