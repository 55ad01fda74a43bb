// One call to a SPIFFE bundle endpoint: who answers is proven first, what it answers is bounded, and read for one trust domain alone.
import { request as httpRequest } from 'node:http';
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { type Bundle, type BundleEndpoint, formatProblems, messageOf, type TrustDomain } from '@isthmus/model';
import { type BundleDocument, MAX_BUNDLE_DOCUMENT_BYTES, parseBundleDocument, verifySvid } from '@isthmus/pki';
import { presentedChain } from '@isthmus/rpc';
import { fail } from '../errors.ts';

const MAX_REDIRECTS = 3;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export type FetchBundleOptions = {
  readonly trustDomain: TrustDomain;
  readonly endpoint: Exclude<BundleEndpoint, { readonly profile: 'file' }>;
  /** The last good bundle of `trustDomain`: all that may vouch for an `https_spiffe` endpoint. */
  readonly lastGood: Bundle | undefined;
  readonly nowMs: number;
  /** Ends it: a limit on the whole belongs to the caller. */
  readonly signal: AbortSignal;
};

/**
 * Fetches a bundle document. Every redirect is temporary: it is followed at once, under the same rules of who may answer,
 * and forgotten. **Throws** IDENTITY_BUNDLE_UNREACHABLE, IDENTITY_BUNDLE_ENDPOINT_REFUSED (not who it should be),
 * IDENTITY_BUNDLE_REFUSED (what it answered is no bundle). **Bounds** 3 redirects, 1 MiB.
 * **Source** SPIFFE Federation §5.
 */
export async function fetchBundle(options: FetchBundleOptions): Promise<BundleDocument> {
  let url = new URL(options.endpoint.url);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const answer = await get(url, options);
    if (answer.kind === 'redirect') {
      url = redirected(url, answer.location);
      continue;
    }
    const parsed = parseBundleDocument(answer.body, options.trustDomain);
    if (parsed.ok) return parsed.value;
    throw fail('IDENTITY_BUNDLE_REFUSED', `what ${url.host} answered is no bundle of ${options.trustDomain}: ${formatProblems(parsed.problems)}`, { facts: { reason: 'garbage' } });
  }
  throw fail('IDENTITY_BUNDLE_UNREACHABLE', `${options.endpoint.url} redirects more than ${MAX_REDIRECTS} times`);
}

function redirected(from: URL, location: string): URL {
  const to = URL.parse(location, from);
  if (to === null || to.protocol !== 'https:') throw fail('IDENTITY_BUNDLE_UNREACHABLE', `${from.host} redirects to what is no https address`);
  return to;
}

type Answer = { readonly kind: 'document'; readonly body: Buffer } | { readonly kind: 'redirect'; readonly location: string };

async function get(url: URL, options: FetchBundleOptions): Promise<Answer> {
  const socket = await dial(url, options);
  try {
    return await ask(socket, url, options.signal);
  } catch (error) {
    throw isOwn(error) ? error : unreachable(url, error);
  } finally {
    socket.destroy();
  }
}

/** A connection whose other end is proven, by the profile's rule, before a byte of the request is sent. */
async function dial(url: URL, options: FetchBundleOptions): Promise<TLSSocket> {
  const { endpoint, signal } = options;
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const isSpiffe = endpoint.profile === 'https_spiffe';
  const socket = connect({
    host,
    port: url.port === '' ? 443 : Number(url.port),
    ...(isIP(host) === 0 && { servername: host }),
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    // By the SPIFFE profile the names in the certificate and the system's CAs have no say; the trust domain's bundle has, below.
    ...(isSpiffe ? { rejectUnauthorized: false, checkServerIdentity: () => undefined } : endpoint.caPem !== undefined ? { ca: endpoint.caPem } : {}),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      socket.once('close', () => signal.removeEventListener('abort', onAbort));
      socket.on('error', reject);
      socket.once('secureConnect', resolve);
    });
    if (isSpiffe) prove(socket, endpoint.spiffeId, url, options);
    return socket;
  } catch (error) {
    socket.destroy();
    if (isOwn(error)) throw error;
    if (isUntrusted(error)) throw fail('IDENTITY_BUNDLE_ENDPOINT_REFUSED', `${url.host} did not prove its name: ${messageOf(error)}`, { cause: error });
    throw unreachable(url, error);
  }
}

function prove(socket: TLSSocket, expectedId: string, url: URL, { lastGood, trustDomain, nowMs }: FetchBundleOptions): void {
  const verdict = verifySvid({ chain: presentedChain(socket), bundle: lastGood, nowMs });
  const refuse = (why: string): Error => fail('IDENTITY_BUNDLE_ENDPOINT_REFUSED', `${url.host} is not proven to be ${expectedId}: ${why}`);
  if (!verdict.ok) throw refuse(lastGood === undefined ? `there is no bundle of ${trustDomain} yet to prove it by` : verdict.detail);
  if (verdict.spiffeId !== expectedId) throw refuse(`it is ${verdict.spiffeId}`);
}

function ask(socket: TLSSocket, url: URL, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => socket,
      host: url.host,
      path: `${url.pathname}${url.search}`,
      method: 'GET',
      headers: { accept: 'application/json', host: url.host },
      signal,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      if (REDIRECTS.has(status) && location !== undefined) return resolve({ kind: 'redirect', location });
      if (status !== 200) return reject(new Error(`it answered ${status}`));
      const parts: Buffer[] = [];
      let sizeBytes = 0;
      response.on('data', (part: Buffer) => {
        sizeBytes += part.byteLength;
        if (sizeBytes > MAX_BUNDLE_DOCUMENT_BYTES) reject(fail('IDENTITY_BUNDLE_REFUSED', `what ${url.host} answers is larger than ${MAX_BUNDLE_DOCUMENT_BYTES} bytes`, { facts: { reason: 'garbage' } }));
        else parts.push(part);
      });
      response.on('end', () => resolve({ kind: 'document', body: Buffer.concat(parts) }));
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('it broke off')));
    });
    request.end();
  });
}

function unreachable(url: URL, error: unknown): Error {
  return fail('IDENTITY_BUNDLE_UNREACHABLE', `no bundle from ${url.host}: ${messageOf(error)}`, { cause: error });
}

function isOwn(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('IDENTITY_');
}

/** OpenSSL's and Node's codes of a certificate that does not hold, as against a network that does not. */
function isUntrusted(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT|HOSTNAME_)/.test(error.code);
}
