// Bearer tokens of a context: from a file, kept since the login, or got from an issuer by client credentials (RFC 6749 §4.4).
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clusterTrustDomain, formatProblems, messageOf, type TrustDomain } from '@isthmus/model';
import { type BundleSource, makeBundleDocument, openBundleSet, parseBundleDocument } from '@isthmus/pki';
import { Agent, makePrivateDir, readPrivateFile, request, systemClock, writePrivateFile } from '@isthmus/runtime';
import type { ApiContext, BearerSource } from './contexts.ts';
import { fail } from './errors.ts';

type ClientCredentials = Extract<BearerSource, { readonly issuer: string }>;
type Kept = { readonly token: string; readonly expiresAtMs: number };

const MAX_BYTES = 1024 * 1024;
const TIMEOUT_MS = 10_000;
/** A token that ends sooner is not used any more. */
const REST_MS = 30_000;
const BUNDLE_AGE_MS = 3_600_000;

/** The token for one command. **Throws** CLI_LOGGED_OUT, CLI_ISSUER. */
export async function bearerToken({ bearer, identityDir }: Pick<ApiContext, 'identityDir'> & { readonly bearer: BearerSource }): Promise<string> {
  if ('tokenFile' in bearer) {
    const text = await readFile(bearer.tokenFile, 'utf8').catch((error: unknown) => {
      throw fail('CLI_LOGGED_OUT', `the token file ${bearer.tokenFile} cannot be read: ${messageOf(error)}`, { hint: 'log in again' });
    });
    return text.trim();
  }
  const kept = await readKept(identityDir);
  if (kept !== undefined && kept.expiresAtMs - REST_MS > systemClock.nowMs()) return kept.token;
  if ('stored' in bearer) throw fail('CLI_LOGGED_OUT', 'the token of this context has run out', { hint: 'get a new one from its issuer and run `isthmus login` again' });
  const got = await clientCredentials(bearer);
  await keepToken(identityDir, got);
  return got.token;
}

/** Keeps a token beside the context, mode 0600. */
export async function keepToken(identityDir: string, kept: Kept): Promise<void> {
  await makePrivateDir(identityDir);
  await writePrivateFile(join(identityDir, 'token.json'), JSON.stringify(kept));
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

async function readKept(identityDir: string): Promise<Kept | undefined> {
  try {
    const kept = JSON.parse((await readPrivateFile(join(identityDir, 'token.json'), { maxBytes: MAX_BYTES })).toString('utf8')) as Partial<Kept>;
    return typeof kept.token === 'string' && typeof kept.expiresAtMs === 'number' ? { token: kept.token, expiresAtMs: kept.expiresAtMs } : undefined;
  } catch {
    return undefined;
  }
}

/** Asks the issuer for a token of this client. **Throws** CLI_ISSUER with what it said. */
export async function clientCredentials(source: ClientCredentials): Promise<Kept> {
  const { issuer, clientId, clientSecretFile, caFile, scope, audience } = source;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  const secret = (await readFile(clientSecretFile, 'utf8')).trim();
  const dispatcher = new Agent({ connect: { ...(ca !== undefined && { ca }), timeout: TIMEOUT_MS } });
  const ask = async (url: string, form?: URLSearchParams): Promise<Readonly<Record<string, unknown>>> => {
    const { protocol, hostname } = new URL(url);
    if (protocol !== 'https:' && !['127.0.0.1', '[::1]', 'localhost'].includes(hostname)) throw fail('CLI_ISSUER', `${url} is not https`);
    const answer = await request(url, {
      method: form === undefined ? 'GET' : 'POST', dispatcher, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS,
      headers: { accept: 'application/json', ...(form && { 'content-type': 'application/x-www-form-urlencoded' }) }, ...(form && { body: form.toString() }),
    });
    const document = (await answer.body.json()) as Readonly<Record<string, unknown>>;
    if (answer.statusCode !== 200) throw fail('CLI_ISSUER', `${url} answered ${answer.statusCode}: ${String(document['error'] ?? '')} ${String(document['error_description'] ?? '')}`.trim());
    return document;
  };
  try {
    const found = await ask(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    if (found['issuer'] !== issuer || typeof found['token_endpoint'] !== 'string') throw fail('CLI_ISSUER', `${issuer} answers with the discovery document of another issuer, or one without a token endpoint`);
    const form = new URLSearchParams({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret, ...(scope !== undefined && { scope }), ...(audience !== undefined && { audience }) });
    const { access_token: token, expires_in: lasts } = await ask(found['token_endpoint'], form);
    if (typeof token !== 'string') throw fail('CLI_ISSUER', `${issuer} answered without an access token`);
    return { token, expiresAtMs: typeof lasts === 'number' ? systemClock.nowMs() + lasts * 1_000 : endOf(token) };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'CLI_ISSUER') throw error;
    throw fail('CLI_ISSUER', `${issuer} gives no token: ${messageOf(error instanceof Error && error.cause !== undefined ? error.cause : error)}`, { hint: 'see the issuer’s address, its CA (--issuer-ca) and the client’s secret', cause: error });
  } finally {
    await dispatcher.destroy();
  }
}

const bundleFile = (identityDir: string): string => join(identityDir, 'bundle.json');

/** Keeps the roots the cluster is known by, DER. */
export async function keepRoots(identityDir: string, trustDomain: TrustDomain, roots: readonly Buffer[]): Promise<void> {
  await makePrivateDir(identityDir);
  const bundle = { trustDomain, sequence: 0, refreshHintSeconds: 300, x509Authorities: roots.map((root) => root.toString('base64')) };
  await writePrivateFile(bundleFile(identityDir), JSON.stringify({ keptAtMs: systemClock.nowMs(), document: makeBundleDocument(bundle) }));
}

/**
 * The roots a context knows its cluster by, and `renew` to be called with the cluster's own word of them: a root that is
 * rotated is known here before the old one ends. **Throws** CLI_LOGGED_OUT.
 */
export async function contextBundles(context: Pick<ApiContext, 'cluster' | 'federation' | 'identityDir'>): Promise<{ readonly bundles: BundleSource; readonly renew: (ask: () => Promise<string>) => Promise<void> }> {
  const trustDomain = clusterTrustDomain(context.cluster, context.federation);
  const path = bundleFile(context.identityDir);
  const { keptAtMs, document } = await readPrivateFile(path, { maxBytes: MAX_BYTES }).then(
    (bytes) => JSON.parse(bytes.toString('utf8')) as { readonly keptAtMs: number; readonly document: string },
    (error: unknown) => {
      throw fail('CLI_LOGGED_OUT', `the root of ${trustDomain} is not known: ${messageOf(error)}`, { hint: 'log in again' });
    },
  );
  const parsed = parseBundleDocument(Buffer.from(document), trustDomain);
  if (!parsed.ok) throw fail('CLI_LOGGED_OUT', `${path}: ${formatProblems(parsed.problems)}`, { hint: 'log in again' });
  return {
    bundles: openBundleSet([parsed.value.bundle]),
    renew: async (ask) => {
      if (systemClock.nowMs() - keptAtMs < BUNDLE_AGE_MS) return;
      const next = await ask().catch(() => undefined); // who may not read it keeps what there is
      const isGood = next !== undefined && parseBundleDocument(Buffer.from(next), trustDomain).ok;
      if (isGood) await writePrivateFile(path, JSON.stringify({ keptAtMs: systemClock.nowMs(), document: next }));
    },
  };
}
