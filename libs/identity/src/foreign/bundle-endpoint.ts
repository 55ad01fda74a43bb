// The bundle endpoint: this trust domain's bundle for whoever asks, over HTTPS, by either SPIFFE profile.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { type Bundle, messageOf, type TrustDomain } from '@isthmus/model';
import { type BundleSource, makeBundleDocument, svidToPem, type SvidSource } from '@isthmus/pki';
import { type Clock, portBusy, readPrivateFile } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';

/** How the endpoint proves itself. Source: SPIFFE Federation §5.1, §5.2. */
export type EndpointProof =
  /** By an SVID of the trust domain whose bundle it serves. */
  | { readonly profile: 'https_spiffe'; readonly svids: SvidSource }
  /** By a certificate of the web's CAs, in PEM files that are read again each minute. */
  | { readonly profile: 'https_web'; readonly certificateFile: string; readonly keyFile: string };

export type BundleEndpointOptions = {
  readonly listen: { readonly host: string; readonly port: number };
  readonly proof: EndpointProof;
  readonly trustDomain: TrustDomain;
  readonly bundles: BundleSource;
  /** What readers are told instead of the bundle's own hint, seconds. */
  readonly refreshHintSeconds?: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface BundleEndpointServer {
  readonly port: number;
  close(): Promise<void>;
}

const HANDSHAKE_MS = 5_000;
const HEADERS_MS = 5_000;
const REQUEST_MS = 10_000;
/** From accept to end, whatever is said meanwhile: an answer is a few KiB. */
const CONNECTION_MS = 30_000;
const MAX_CONNECTIONS = 512;
const MAX_HEADER_BYTES = 8 * 1024;
const REREAD_MS = 60_000;

/**
 * Serves the bundle at `/`: GET alone, no client certificate asked for, an ETag of the document and a lifetime of a
 * fifth of the hint for caches between. **Throws** IDENTITY_BUNDLE_ENDPOINT_FAILED when its certificate
 * cannot be read, PORT_BUSY, PORT_DENIED. **Bounds** 512 connections, each of 30 s at most.
 */
export async function serveBundleEndpoint(options: BundleEndpointOptions): Promise<BundleEndpointServer> {
  const { listen, proof, bundles, trustDomain, clock, log, metrics } = options;
  const requests = metrics.counter('isthmus_bundle_endpoint_requests_total', 'Requests at the SPIFFE bundle endpoint', ['status']);
  const context = await openContext(proof, clock, log);
  const document = documentOf(bundles, trustDomain, options.refreshHintSeconds);
  const server = createServer(
    {
      ...context.current(),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      requestCert: false,
      handshakeTimeout: HANDSHAKE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => requests.inc({ status: String(answer(request, response, document())) }),
  );
  bound(server, clock);
  const unsubscribe = context.onChange((next) => server.setSecureContext(next));
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(listen.port, listen.host, resolve));
  } catch (error) {
    context.close();
    throw portBusy(error as Error, listen.host, listen.port);
  }
  server.on('error', (error) => log.warn('bundle endpoint', { error: messageOf(error) }));
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      unsubscribe();
      context.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Limits against callers that are many, slow, or never done. */
function bound(server: Server, clock: Clock): void {
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  server.keepAliveTimeout = HEADERS_MS;
  server.maxRequestsPerSocket = 16;
  server.on('connection', (socket: Socket) => {
    const limit = clock.setTimer(CONNECTION_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.once('close', () => limit.cancel());
  });
  server.on('tlsClientError', (_error, socket) => {
    socket.on('error', () => undefined);
    socket.destroy();
  });
  server.on('clientError', (_error, socket) => socket.destroy());
}

type Served = { readonly body: string; readonly etag: string; readonly maxAgeSeconds: number };

/** The document in force, written once for each bundle. */
function documentOf(bundles: BundleSource, trustDomain: TrustDomain, hintSeconds: number | undefined): () => Served | undefined {
  let from: Bundle | undefined;
  let served: Served | undefined;
  return () => {
    const bundle = bundles.get(trustDomain);
    if (bundle === from) return served;
    from = bundle;
    if (bundle === undefined) return (served = undefined);
    const refreshHintSeconds = hintSeconds ?? bundle.refreshHintSeconds;
    const body = makeBundleDocument({ ...bundle, refreshHintSeconds });
    const etag = `"${createHash('sha256').update(body).digest('hex')}"`;
    return (served = { body, etag, maxAgeSeconds: Math.max(1, Math.floor(refreshHintSeconds / 5)) });
  };
}

/** Answers; the status, for counting. */
function answer(request: IncomingMessage, response: ServerResponse, served: Served | undefined): number {
  const end = (status: number, headers: Readonly<Record<string, string>> = {}, body = ''): number => {
    response.writeHead(status, { ...headers, 'x-content-type-options': 'nosniff', ...(status === 304 ? {} : { 'content-length': String(Buffer.byteLength(body)) }) });
    response.end(body);
    return status;
  };
  request.resume();
  if (request.method !== 'GET') return end(405, { allow: 'GET', connection: 'close' });
  if (request.url !== '/' && request.url !== '') return end(404, { connection: 'close' });
  if (served === undefined) return end(503, { 'retry-after': '30' });
  const caching = { etag: served.etag, 'cache-control': `public, max-age=${served.maxAgeSeconds}` };
  if (matches(request.headers['if-none-match'], served.etag)) return end(304, caching);
  return end(200, { ...caching, 'content-type': 'application/json' }, served.body);
}

/** Source: RFC 9110 §13.1.2, weak comparison. */
function matches(header: string | undefined, etag: string): boolean {
  return header !== undefined && (header.trim() === '*' || header.split(',').some((one) => one.trim().replace(/^W\//, '') === etag));
}

type Context = {
  current(): SecureContextOptions;
  onChange(fn: (context: SecureContextOptions) => void): () => void;
  close(): void;
};

async function openContext(proof: EndpointProof, clock: Clock, log: Log): Promise<Context> {
  if (proof.profile === 'https_web') return webContext(proof, clock, log);
  const { svids } = proof;
  const current = (): SecureContextOptions => {
    const svid = svids.current();
    if (svid === undefined) return {};
    const { certPem, keyPem } = svidToPem(svid);
    return { cert: certPem, key: keyPem };
  };
  return { current, onChange: (fn) => svids.onChange(() => fn(current())), close: () => undefined };
}

async function webContext({ certificateFile, keyFile }: Extract<EndpointProof, { readonly profile: 'https_web' }>, clock: Clock, log: Log): Promise<Context> {
  const read = async (): Promise<SecureContextOptions> => {
    const [cert, key] = await Promise.all([readFile(certificateFile, 'utf8'), readPrivateFile(keyFile)]);
    return { cert, key: key.toString() };
  };
  let current = await read().catch((error: unknown) => {
    throw fail('IDENTITY_BUNDLE_ENDPOINT_FAILED', `the certificate of the bundle endpoint cannot be read: ${messageOf(error)}`, { cause: error });
  });
  const listeners = new Set<(context: SecureContextOptions) => void>();
  let timer: { cancel(): void } | undefined;
  let isClosed = false;
  const rearm = (): void => {
    if (!isClosed) timer = clock.setTimer(REREAD_MS, () => void reread().finally(rearm));
  };
  const reread = async (): Promise<void> => {
    try {
      const next = await read();
      if (isClosed || (next.cert === current.cert && next.key === current.key)) return;
      for (const fn of listeners) fn(next);
      current = next;
      log.info('the certificate of the bundle endpoint was replaced');
    } catch (error) {
      log.warn('the certificate of the bundle endpoint cannot be read, the last one is kept', { error: messageOf(error) });
    }
  };
  rearm();
  return {
    current: () => current,
    onChange: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    close: () => {
      isClosed = true;
      timer?.cancel();
    },
  };
}
