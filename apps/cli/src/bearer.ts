// Bearer tokens of a context: from a file, kept since the login, or got from an issuer; and the roots its cluster is known by.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clusterTrustDomain, formatProblems, messageOf, type TrustDomain } from '@isthmus/model';
import { type BundleSource, makeBundleDocument, openBundleSet, parseBundleDocument } from '@isthmus/pki';
import { makePrivateDir, readPrivateFile, systemClock, writePrivateFile } from '@isthmus/runtime';
import type { ApiContext, BearerSource } from './contexts.ts';
import { fail } from './errors.ts';
import { clientCredentials, type IssuedToken, refreshed } from './token-issuer.ts';

const MAX_BYTES = 1024 * 1024;
/** A token that ends sooner is not used any more. */
const REST_MS = 30_000;
/** Roots older than this are asked for again, so that a context in use follows a rotation. */
const BUNDLE_AGE_MS = 60_000;

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
  const got = bearer.clientSecretFile !== undefined ? await clientCredentials(bearer) : kept?.refreshToken === undefined ? undefined : await refreshed(bearer, kept.refreshToken);
  if (got === undefined) throw fail('CLI_LOGGED_OUT', `the token of ${bearer.issuer} has run out`, { hint: 'run the same `isthmus login --issuer …` again' });
  await keepToken(identityDir, got);
  return got.token;
}

/** Keeps a token beside the context, mode 0600. */
export async function keepToken(identityDir: string, kept: IssuedToken): Promise<void> {
  await makePrivateDir(identityDir);
  await writePrivateFile(join(identityDir, 'token.json'), JSON.stringify(kept));
}

async function readKept(identityDir: string): Promise<IssuedToken | undefined> {
  try {
    const kept = JSON.parse((await readPrivateFile(join(identityDir, 'token.json'), { maxBytes: MAX_BYTES })).toString('utf8')) as Partial<IssuedToken>;
    return typeof kept.token === 'string' && typeof kept.expiresAtMs === 'number' ? { token: kept.token, expiresAtMs: kept.expiresAtMs, ...(typeof kept.refreshToken === 'string' && { refreshToken: kept.refreshToken }) } : undefined;
  } catch {
    return undefined;
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
export async function contextBundles(context: Pick<ApiContext, 'cluster' | 'federation' | 'identityDir'>): Promise<{ readonly bundles: BundleSource; readonly renew: (ask: () => Promise<string>, options?: { readonly isForced: boolean }) => Promise<void> }> {
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
  const bundles = openBundleSet([parsed.value.bundle]);
  return {
    bundles,
    renew: async (ask, { isForced } = { isForced: false }) => {
      if (!isForced && systemClock.nowMs() - keptAtMs < BUNDLE_AGE_MS) return;
      const next = await ask().catch(() => undefined); // who may not read it keeps what there is
      const read = next === undefined ? undefined : parseBundleDocument(Buffer.from(next), trustDomain);
      if (read?.ok !== true) return;
      bundles.update(read.value.bundle);
      await writePrivateFile(path, JSON.stringify({ keptAtMs: systemClock.nowMs(), document: next }));
    },
  };
}
