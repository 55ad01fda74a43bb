// Tokens of an OpenID Connect issuer: by a client's secret (RFC 6749 §4.4), by a person in a browser (RFC 8628), or by a refresh token.
import { readFile } from 'node:fs/promises';
import { IsthmusError, messageOf } from '@isthmus/model';
import { systemClock } from '@isthmus/runtime';
import { Agent, request } from '@isthmus/runtime/http';
import type { BearerSource } from './contexts.ts';
import { fail } from './errors.ts';

export type IssuerSource = Extract<BearerSource, { readonly issuer: string }>;
export type IssuedToken = { readonly token: string; readonly expiresAtMs: number; readonly refreshToken?: string };
/** What a person is asked to do: open the address and type the code. */
export type DevicePrompt = { readonly address: string; readonly code: string };

type Document = Readonly<Record<string, unknown>>;
type Answer = { readonly status: number; readonly document: Document };
/** Asks `token_endpoint` and the like; the discovery document is read first. */
type Issuer = { readonly endpoint: (name: string) => string; readonly post: (url: string, form: Record<string, string>) => Promise<Answer> };

const TIMEOUT_MS = 10_000;
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const MAX_DEVICE_WAIT_MS = 900_000;
const DEFAULT_INTERVAL_SECONDS = 5;

/** A token of this client by its secret. **Throws** CLI_ISSUER with what the issuer said. */
export function clientCredentials(source: IssuerSource): Promise<IssuedToken> {
  return withIssuer(source, async (issuer) => {
    const secret = (await readFile(String(source.clientSecretFile), 'utf8')).trim();
    return taken(await issuer.post(issuer.endpoint('token_endpoint'), { grant_type: 'client_credentials', client_id: source.clientId, client_secret: secret, ...wanted(source) }), source);
  });
}

/** A new token by a refresh token; undefined where the issuer takes it no longer. **Throws** CLI_ISSUER where it cannot be asked. */
export function refreshed(source: IssuerSource, refreshToken: string): Promise<IssuedToken | undefined> {
  return withIssuer(source, async (issuer) => {
    const answer = await issuer.post(issuer.endpoint('token_endpoint'), { grant_type: 'refresh_token', client_id: source.clientId, refresh_token: refreshToken });
    return answer.status === 400 || answer.status === 401 ? undefined : { refreshToken, ...taken(answer, source) };
  });
}

/**
 * A token once a person said yes: `ask` is told what to show. **Throws** CLI_ISSUER when it was refused or ran out.
 * **Bounds** 15 min, and no more questions than the issuer wants.
 */
export function deviceToken(source: IssuerSource, ask: (prompt: DevicePrompt) => void): Promise<IssuedToken> {
  return withIssuer(source, async (issuer) => {
    const begun = await issuer.post(issuer.endpoint('device_authorization_endpoint'), { client_id: source.clientId, ...wanted(source) });
    const { device_code: device, user_code: code, verification_uri: address, verification_uri_complete: whole, expires_in: lasts } = begun.document;
    if (begun.status !== 200 || typeof device !== 'string' || typeof code !== 'string' || typeof address !== 'string') throw refused(source, begun);
    ask({ address: typeof whole === 'string' ? whole : address, code });
    const endsAtMs = systemClock.monotonicMs() + Math.min(MAX_DEVICE_WAIT_MS, (typeof lasts === 'number' ? lasts : 600) * 1_000);
    let intervalSeconds = typeof begun.document['interval'] === 'number' ? begun.document['interval'] : DEFAULT_INTERVAL_SECONDS;
    while (systemClock.monotonicMs() < endsAtMs) {
      await systemClock.sleep(intervalSeconds * 1_000);
      const answer = await issuer.post(issuer.endpoint('token_endpoint'), { grant_type: DEVICE_GRANT, device_code: device, client_id: source.clientId });
      const { error } = answer.document;
      if (error === 'slow_down') intervalSeconds += DEFAULT_INTERVAL_SECONDS; // RFC 8628 §3.5
      else if (error !== 'authorization_pending') return taken(answer, source);
    }
    throw fail('CLI_ISSUER', 'nobody said yes in time', { hint: 'run the login again' });
  });
}

/** When a JWT says it ends, without any proof; 0 where it does not say. */
export function endOf(token: string): number {
  try {
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as { readonly exp?: unknown };
    return typeof exp === 'number' ? exp * 1_000 : 0;
  } catch {
    return 0;
  }
}

function wanted({ scope, audience }: IssuerSource): Record<string, string> {
  return { ...(scope !== undefined && { scope }), ...(audience !== undefined && { audience }) };
}

function taken(answer: Answer, source: IssuerSource): IssuedToken {
  const { access_token: token, expires_in: lasts, refresh_token: refresh } = answer.document;
  if (answer.status !== 200 || typeof token !== 'string') throw refused(source, answer);
  return { token, expiresAtMs: typeof lasts === 'number' ? systemClock.nowMs() + lasts * 1_000 : endOf(token), ...(typeof refresh === 'string' && { refreshToken: refresh }) };
}

function refused({ issuer }: IssuerSource, { status, document }: Answer): Error {
  const said = [document['error'], document['error_description']].filter((text) => typeof text === 'string').join(': ');
  return fail('CLI_ISSUER', `${issuer} answered ${status}${said === '' ? ' without a token' : ` ${said}`}`, { hint: 'see the client’s id and secret, and what the issuer lets it ask for' });
}

async function withIssuer<T>(source: IssuerSource, use: (issuer: Issuer) => Promise<T>): Promise<T> {
  const { issuer, caFile } = source;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8').catch((error: unknown) => {
    throw fail('CLI_BAD_INPUT', `--issuer-ca: cannot read ${caFile}: ${messageOf(error)}`);
  });
  const dispatcher = new Agent({ connect: { ...(ca !== undefined && { ca }), timeout: TIMEOUT_MS } });
  const ask = async (url: string, form?: Record<string, string>): Promise<Answer> => {
    const { protocol, hostname } = new URL(url);
    if (protocol !== 'https:' && !['127.0.0.1', '[::1]', 'localhost'].includes(hostname)) throw fail('CLI_ISSUER', `${url} is not https`);
    const answer = await request(url, {
      method: form === undefined ? 'GET' : 'POST', dispatcher, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS,
      headers: { accept: 'application/json', ...(form && { 'content-type': 'application/x-www-form-urlencoded' }) }, ...(form && { body: new URLSearchParams(form).toString() }),
    });
    return { status: answer.statusCode, document: (await answer.body.json()) as Document };
  };
  try {
    const found = await ask(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    if (found.status !== 200 || found.document['issuer'] !== issuer) throw fail('CLI_ISSUER', `${issuer} answers with no discovery document, or with that of another issuer`);
    const endpoint = (name: string): string => {
      const url = found.document[name];
      if (typeof url !== 'string') throw fail('CLI_ISSUER', `${issuer} has no ${name}`);
      return url;
    };
    return await use({ endpoint, post: ask });
  } catch (error) {
    if (error instanceof IsthmusError) throw error;
    throw fail('CLI_ISSUER', `${issuer} cannot be asked: ${messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error)}`, { hint: 'see the issuer’s address and its CA (--issuer-ca)', cause: error });
  } finally {
    await dispatcher.destroy();
  }
}
