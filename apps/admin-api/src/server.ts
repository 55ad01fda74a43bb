// The HTTP server: TLS by SVID, then for every request the same steps in the same order: who, how often, may they, is it well formed, do it.
import { createHash, randomUUID } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ApiRole, fail, PROBLEM_MEDIA_TYPE, type Route, ROUTES, statusOf, toProblemDocument } from '@isthmus/api';
import { type RateLimit, openRateLimit } from '@isthmus/identity';
import { IsthmusError, messageOf } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { contextOf } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Audit, AuditEvent } from './audit.ts';
import { authenticate } from './auth/caller.ts';
import { type Caller, type Decision, decide, type Grant } from './auth/grants.ts';
import type { Oidc } from './auth/oidc.ts';
import type { Config } from './config.ts';
import { type Checked, compileRoute, RefusedRequest } from './request.ts';

export const MAX_BODY_BYTES = 1024 * 1024;

/** What a route's work is handed, once the request is let in. */
export type Work = Checked & {
  readonly route: Route;
  readonly caller: Caller;
  readonly id: string;
  readonly headers: FastifyRequest['headers'];
  readonly url: string;
  readonly rawBody: Buffer | undefined;
  /** Namespaces this caller may see of a list. */
  readonly namespaces: Extract<Decision, { ok: true }>['namespaces'];
  /** Ends when the caller is gone. */
  readonly signal: AbortSignal;
  /** Set where the work writes the answer itself. */
  readonly reply: FastifyReply;
};
export type Answered = { readonly status: number; readonly value: unknown; readonly headers?: Readonly<Record<string, string>> } | 'streamed';
export type Handler = (work: Work) => Promise<Answered>;

export type ServerOptions = {
  readonly config: Config;
  readonly grants: readonly Grant[];
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  readonly audit: Audit;
  readonly handle: Handler;
  readonly oidc?: Oidc | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface ApiServer {
  readonly port: number;
  /** Every route the router really has, as `METHOD /path`. */
  readonly routes: readonly string[];
  close(): Promise<void>;
}

type Judged = { readonly id: string; caller?: Caller; decision?: Extract<Decision, { ok: true }> };

/** Starts listening. **Throws** RPC_PORT_BUSY-like errors of Node as they are. */
export async function startApiServer(options: ServerOptions): Promise<ApiServer> {
  const { config, svids, bundles, clock, log } = options;
  const limits = { requestsPerSecond: 50, requestsBurst: 200, connections: 1_024, ...config.limits };
  const perCaller = openRateLimit({ burst: limits.requestsBurst, perSecond: limits.requestsPerSecond, clock });
  // Who proves nothing is counted by address, and gets a fifth.
  const perAddress = openRateLimit({ burst: Math.ceil(limits.requestsBurst / 5), perSecond: Math.ceil(limits.requestsPerSecond / 5), clock });
  const counted = options.metrics.counter('isthmus_admin_api_requests_total', 'Requests by route and status', ['route', 'status']);
  const routes: string[] = [];
  const judged = new WeakMap<FastifyRequest, Judged>();

  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 512 },
    serverFactory: (handler) => {
      const server = createServer({ ...contextOf(svids, bundles), minVersion: 'TLSv1.3', ALPNProtocols: ['http/1.1'], requestCert: true, rejectUnauthorized: false, maxHeaderSize: 24_576, headersTimeout: 10_000, requestTimeout: 30_000, handshakeTimeout: 5_000, keepAliveTimeout: 30_000 }, handler);
      server.maxConnections = limits.connections;
      server.on('tlsClientError', (error, socket) => {
        log.debug('handshake failed', { error: messageOf(error), remote: socket.remoteAddress });
        socket.destroy();
      });
      return server;
    },
  });
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) routes.push(`${method} ${route.url}`);
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.addHook('onRequest', async (request) => {
    const state: Judged = { id: randomUUID() };
    judged.set(request, state);
    state.caller = await callerOf(request, options, perAddress);
    if (!perCaller.take(state.caller.id)) throw fail('API_RATE_LIMITED', `${state.caller.id} sent too many requests`, { hint: 'wait a second' });
    // Fastify has its own mind of methods that no route has, such as QUERY without a body.
    if (!METHODS.has(request.method)) throw notRouted(request);
  });
  app.setErrorHandler(async (error, request, reply) => answerProblem(error, request, reply));
  app.setNotFoundHandler(async (request, reply) => answerProblem(notRouted(request), request, reply));
  for (const route of ROUTES) addRoute(app, route);

  const problemOf = (error: unknown): { readonly error: unknown; readonly problems?: RefusedRequest['problems'] } => {
    if (error instanceof RefusedRequest) return { error: error.error, problems: error.problems };
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return { error: fail('API_BODY_TOO_LARGE', `the body is larger than ${MAX_BODY_BYTES} bytes`) };
    if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return { error: fail('API_MEDIA_TYPE', 'the body must be application/json') };
    if (error instanceof IsthmusError) return { error };
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    if (status >= 400 && status < 500) return { error: fail('API_INVALID', messageOf(error)) };
    log.error('a request failed for an unexpected reason', { error: messageOf(error), ...(error instanceof Error && error.stack !== undefined && { stack: error.stack }) });
    return { error };
  };

  async function answerProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const state = judged.get(request);
    const { error, problems } = problemOf(thrown);
    const document = toProblemDocument(error, { instance: state?.id ?? '', ...(problems && { problems }) });
    const isRefusal = error instanceof IsthmusError && (error.class === 'denied' || error.class === 'unauthenticated');
    if (isRefusal && state !== undefined) await recordOf(request, state, 'refused', { status: document.status, code: document.code }).catch(() => undefined);
    if (document.status === 405) reply.header('allow', methodsAt(request).join(', '));
    if (error instanceof IsthmusError && statusOf(error) === 401) reply.header('www-authenticate', request.headers.authorization === undefined ? 'Bearer' : 'Bearer error="invalid_token"');
    if (document.status === 429) reply.header('retry-after', '1');
    counted.inc({ route: routeName(request), status: String(document.status) });
    return reply.code(document.status).header('content-type', PROBLEM_MEDIA_TYPE).send(JSON.stringify(document));
  }

  function recordOf(request: FastifyRequest, state: Judged, event: AuditEvent, more: { readonly status?: number; readonly code?: string }): Promise<void> {
    const body = request.body instanceof Buffer ? createHash('sha256').update(request.body).digest('hex') : undefined;
    const key = request.headers['idempotency-key'];
    return options.audit.append({
      event,
      request: state.id,
      caller: state.caller?.id ?? `address:${request.ip}`,
      ...(state.caller?.issuer !== undefined && { issuer: state.caller.issuer }),
      ...(state.caller?.forwardedBy !== undefined && { forwardedBy: state.caller.forwardedBy }),
      method: request.method,
      path: request.url.slice(0, 2_048),
      ...more,
      ...(typeof key === 'string' && { idempotencyKey: key.slice(0, 255) }),
      ...(body !== undefined && { bodySha256: body }),
    });
  }

  function addRoute(to: FastifyInstance, route: Route): void {
    const check = compileRoute(route);
    const heads = new WeakMap<FastifyRequest, Pick<Checked, 'params' | 'query'>>();
    to.route({
      method: route.method,
      url: route.path.replace(/\{(\w+)\}/g, ':$1'),
      // Before the body is read: who may not gets no byte of theirs looked at.
      onRequest: async (request) => {
        const state = judged.get(request);
        if (state?.caller === undefined) throw fail('API_UNAUTHENTICATED', 'the request proves no identity');
        // A role first, so that who has none learns nothing of what is well formed.
        const roleOnly = decide(options.grants, state.caller, { roles: route.roles, scope: 'any', cluster: config.cluster });
        if (!roleOnly.ok) throw roleOnly.error;
        const head = check.head({ params: request.params, query: request.query, headers: request.headers });
        heads.set(request, head);
        const namespace = route.scope === 'namespace' ? (head.params['namespace'] ?? head.query['namespace']) : undefined;
        const decision = decide(options.grants, state.caller, { roles: route.roles, scope: route.scope, cluster: head.params['cluster'] ?? config.cluster, namespace });
        if (!decision.ok) throw decision.error;
        state.decision = decision;
      },
      handler: async (request, reply) => {
        const state = judged.get(request);
        const head = heads.get(request);
        if (state?.caller === undefined || state.decision === undefined || head === undefined) throw fail('API_UNAUTHENTICATED', 'the request proves no identity');
        const rawBody = request.body instanceof Buffer ? request.body : undefined;
        const body = check.body(rawBody);
        const gone = new AbortController();
        reply.raw.once('close', () => gone.abort());
        const work: Work = { ...head, body, rawBody, route, caller: state.caller, id: state.id, headers: request.headers, url: request.url, namespaces: state.decision.namespaces, signal: gone.signal, reply };
        const isWrite = route.method !== 'GET' && head.query['dryRun'] !== 'true';
        if (isWrite) await recordOf(request, state, 'intent', {});
        const answer = await options.handle(work).catch(async (error: unknown) => {
          if (isWrite) await recordOf(request, state, 'failed', error instanceof IsthmusError ? { status: statusOf(error), code: error.code } : { status: 500 });
          throw error;
        });
        if (answer === 'streamed') return reply;
        // The change is done; its answer leaves only once the log says so (reliability row 90).
        if (isWrite) await recordOf(request, state, 'done', { status: answer.status });
        counted.inc({ route: route.id, status: String(answer.status) });
        for (const [name, value] of Object.entries(answer.headers ?? {})) reply.header(name, value);
        return reply.code(answer.status).header('isthmus-request', state.id).header('content-type', 'application/json').header('cache-control', 'no-store').send(JSON.stringify(answer.value));
      },
    });
  }

  await app.listen(config.listen);
  const server = app.server as ReturnType<typeof createServer>;
  const update = (): void => server.setSecureContext(contextOf(svids, bundles));
  const unsubscribe = [svids.onChange(update), bundles.onChange(update)];
  return {
    port: (server.address() as AddressInfo).port,
    routes,
    close: async () => {
      for (const stop of unsubscribe) stop();
      await app.close();
    },
  };
}

async function callerOf(request: FastifyRequest, options: ServerOptions, perAddress: RateLimit): Promise<Caller> {
  try {
    return await authenticate(request.raw, { bundles: options.bundles, nowMs: () => options.clock.nowMs(), config: options.config, oidc: options.oidc });
  } catch (error) {
    // Refusals are written to disk: an address that floods is told so without.
    if (!perAddress.take(request.ip)) throw fail('API_RATE_LIMITED', `${request.ip} sent too many requests without an identity`, { hint: 'wait a second' });
    throw error;
  }
}

const METHODS: ReadonlySet<string> = new Set(ROUTES.map((route) => route.method));

/** The methods a request's path has. */
function methodsAt(request: FastifyRequest): readonly string[] {
  const path = request.url.split('?')[0] ?? '';
  return ROUTES.filter((route) => matches(route, path)).map((route) => route.method);
}

function notRouted(request: FastifyRequest): IsthmusError {
  const allowed = methodsAt(request);
  if (allowed.length > 0) return fail('API_METHOD_NOT_ALLOWED', `${request.method} is not possible here; ${allowed.join(', ')} is`);
  return fail('API_NOT_FOUND', `there is no path ${(request.url.split('?')[0] ?? '').slice(0, 200)}`);
}

function matches(route: Route, path: string): boolean {
  return new RegExp(`^${route.path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}$`).test(path);
}

function routeName(request: FastifyRequest): string {
  const url = request.routeOptions.url?.replace(/:(\w+)/g, '{$1}');
  return ROUTES.find((route) => route.path === url && route.method === request.method)?.id ?? 'none';
}

export type { ApiRole };
