// The keys of one token issuer: fetched when first needed, kept, fetched anew with a limit, the last good ones through every failure.
import { readFile } from 'node:fs/promises';
import { formatProblems, messageOf } from '@isthmus/model';
import { type IssuerKeys, MAX_JWKS_BYTES, parseJwks } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { Agent, type Dispatcher, request } from '@isthmus/runtime/http';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';

const MAX_AGE_MS = 600_000;
const MIN_INTERVAL_MS = 10_000;
const FETCH_TIMEOUT_MS = 5_000;

/** Where an issuer's keys are; exactly one of file, url and discovery. */
export type KeysLocation = {
  readonly issuer: string;
  readonly jwksFile?: string | undefined;
  readonly jwksUrl?: string | undefined;
  /** `<issuer>/.well-known/openid-configuration` says where the keys are (OpenID Connect Discovery 1.0 §4). */
  readonly discover?: boolean | undefined;
  /** PEM file with the CA of that server, where it is no public one. */
  readonly caFile?: string | undefined;
  /** File with a token sent to that server, as Kubernetes’ API server wants one; read anew at each fetch. */
  readonly bearerTokenFile?: string | undefined;
};

export interface IssuerKeySource {
  /** The keys known; fetches them where there are none, and behind the caller’s back where they are older than 10 min. **Throws** IDENTITY_ISSUER_AWAY. */
  keys(): Promise<IssuerKeys>;
  /** Fetches now, unless that was done in the last 10 s; whether there may be other keys than before. */
  refresh(): Promise<boolean>;
  close(): Promise<void>;
}

/** **Bounds** one fetch at a time, one in 10 s, 5 s each, 256 KiB. `load` is the text of the JWKS. */
export function openIssuerKeys(options: { readonly name: string; readonly load: (signal: AbortSignal) => Promise<string>; readonly clock: Clock; readonly log: Log }): IssuerKeySource {
  const { name, load, clock, log } = options;
  const closing = new AbortController();
  let known: IssuerKeys | undefined;
  let loadedAtMs = 0;
  let triedAtMs: number | undefined;
  let lastError = '';
  let underWay: Promise<boolean> | undefined;

  async function loadOnce(): Promise<boolean> {
    triedAtMs = clock.monotonicMs();
    const limit = new AbortController();
    const timer = clock.setTimer(FETCH_TIMEOUT_MS, () => limit.abort(new Error(`no answer in ${FETCH_TIMEOUT_MS} ms`)));
    try {
      const result = parseJwks(await load(AbortSignal.any([limit.signal, closing.signal])));
      if (!result.ok) throw new Error(formatProblems(result.problems));
      known = result.value;
      loadedAtMs = clock.monotonicMs();
      log.info('keys of a token issuer fetched', { issuer: name, keys: known.kids.length });
      return true;
    } catch (error) {
      lastError = messageOf(error);
      log.warn('keys of a token issuer cannot be fetched', { issuer: name, error: lastError, kept: known !== undefined });
      return false;
    } finally {
      timer.cancel();
    }
  }
  const refresh = (): Promise<boolean> => {
    if (underWay !== undefined) return underWay;
    const isTooSoon = triedAtMs !== undefined && clock.monotonicMs() - triedAtMs < MIN_INTERVAL_MS;
    if (isTooSoon || closing.signal.aborted) return Promise.resolve(false);
    underWay = loadOnce().finally(() => (underWay = undefined));
    return underWay;
  };
  return {
    async keys() {
      if (known === undefined) await refresh();
      else if (clock.monotonicMs() - loadedAtMs > MAX_AGE_MS) void refresh();
      if (known !== undefined) return known;
      throw fail('IDENTITY_ISSUER_AWAY', `the keys of issuer ${name} are not known: ${lastError}`, { hint: 'see whether the control plane reaches the issuer' });
    },
    refresh,
    async close() {
      closing.abort(new Error('closed'));
      await underWay;
    },
  };
}

/** Reads the JWKS text of a location: a file, an address, or what discovery names. Only https, and http on loopback. */
export function jwksLoader(location: KeysLocation): (signal: AbortSignal) => Promise<string> {
  return async (signal) => {
    const { issuer, jwksFile, jwksUrl, discover, caFile, bearerTokenFile } = location;
    if (jwksFile !== undefined) return readFile(jwksFile, { encoding: 'utf8', signal });
    const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
    const bearer = bearerTokenFile === undefined ? undefined : (await readFile(bearerTokenFile, 'utf8')).trim();
    const dispatcher = new Agent({ connect: { ...(ca !== undefined && { ca }), timeout: FETCH_TIMEOUT_MS } });
    const get = (url: string): Promise<string> => fetchText(url, { dispatcher, signal, ...(bearer !== undefined && { bearer }) });
    try {
      if (jwksUrl !== undefined) return await get(jwksUrl);
      if (discover !== true) throw new Error('neither jwksFile, jwksUrl nor discover is configured');
      return await get(jwksUriOf(await get(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`), issuer));
    } finally {
      await dispatcher.destroy();
    }
  };
}

/** The `jwks_uri` of a discovery document, which must be the issuer’s own (OpenID Connect Discovery 1.0 §4.3). */
function jwksUriOf(text: string, issuer: string): string {
  const document: unknown = JSON.parse(text);
  if (typeof document !== 'object' || document === null || !('issuer' in document) || !('jwks_uri' in document)) throw new Error('the discovery document has no issuer or jwks_uri');
  if (document.issuer !== issuer) throw new Error('the discovery document is of another issuer');
  if (typeof document.jwks_uri !== 'string') throw new Error('the discovery document has no jwks_uri');
  return document.jwks_uri;
}

async function fetchText(url: string, options: { readonly dispatcher: Dispatcher; readonly signal: AbortSignal; readonly bearer?: string }): Promise<string> {
  const { protocol, hostname } = new URL(url);
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);
  if (protocol !== 'https:' && !(protocol === 'http:' && isLocal)) throw new Error(`${url} is not https`);
  // Kubernetes gives its keys as RFC 7517 names them, and answers 406 to whoever asks for JSON alone.
  const headers = { accept: 'application/json, application/jwk-set+json', ...(options.bearer !== undefined && { authorization: `Bearer ${options.bearer}` }) };
  const answer = await request(url, { dispatcher: options.dispatcher, signal: options.signal, headers });
  if (answer.statusCode !== 200) throw new Error(`${url} answered ${answer.statusCode}`);
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of answer.body as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_JWKS_BYTES) throw new Error(`${url} answered with more than ${MAX_JWKS_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
