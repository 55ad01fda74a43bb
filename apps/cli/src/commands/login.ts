// `isthmus login` and `isthmus context …`: getting an identity from a cluster, and choosing which of them commands use.
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { clusterTrustDomain, messageOf, reservedSni, type TrustDomain } from '@isthmus/model';
import { openIdentity, withApi } from '../api.ts';
import type { CommandContext } from '../context.ts';
import { type BearerSource, findContext, identityDir, readContexts, removeContext, saveContext, useContext } from '../contexts.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import type { IssuedToken } from '../token-issuer.ts';
import { instant } from './token.ts';

/** Remembers a cluster as a context: with an SVID of an operator's join token, or with a bearer token or an issuer that gives them. */
export async function login(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const file = options['tokenFile'] ?? options['token'];
  if (typeof options['issuer'] === 'string') return loginByIssuer(context, options);
  if (typeof file !== 'string') throw fail('CLI_BAD_INPUT', 'nothing says who you are', { hint: 'give --token-file with an operator’s join token or a bearer token, or --issuer with --client-id and --client-secret-file' });
  const token = await readToken(file);
  if (!/^[\w-]+\.[\w-]+\.[\w-]*$/.test(token) || token.startsWith('ijt1.') || token.startsWith('ict1.')) return loginByJoinToken(context, options, token);
  // A file stays with whoever keeps it fresh; what came by standard input or in the command itself is kept here.
  const isFile = file !== '-' && file !== token;
  const { endOf } = await import('../token-issuer.ts');
  return loginByToken(context, options, isFile ? { tokenFile: resolve(file) } : { stored: true }, { token, expiresAtMs: endOf(token) });
}

async function loginByJoinToken(context: CommandContext, options: Options, token: string): Promise<void> {
  const server = serverOf(options);
  const api = typeof options['api'] === 'string' ? options['api'] : server;
  const { parseToken } = await import('@isthmus/pki');
  const read = parseToken(token);
  const { cluster, federation, agent, role } = read.ok ? read.value.fields : {};
  if (cluster === undefined || federation === undefined || agent === undefined || role !== 'operator') {
    throw fail('CLI_BAD_INPUT', '--token: this is no operator’s join token, and no bearer token', { hint: 'make one with `isthmus token create NAME --role operator`' });
  }
  const name = typeof options['context'] === 'string' ? options['context'] : cluster;
  const identity = await openIdentity({ server, identityDir: identityDir(name) }, token);
  const { spiffeId } = identity;
  await identity.close();
  await saveContext(name, { cluster, federation, server, api });
  printOutcome(context, `logged in as ${spiffeId}; context ${name} is in use`, { context: name, spiffeId, cluster, federation });
}

/** Saved once the admin API said whom it takes the bearer for. */
async function loginByToken(context: CommandContext, options: Options, bearer: BearerSource, token?: IssuedToken): Promise<void> {
  const { cluster, federation } = options;
  if (typeof cluster !== 'string' || typeof federation !== 'string') throw fail('CLI_BAD_INPUT', 'a bearer token does not say which cluster it is for', { hint: 'add --cluster and --federation' });
  const server = serverOf(options);
  const api = typeof options['api'] === 'string' ? options['api'] : server;
  const name = typeof options['context'] === 'string' ? options['context'] : cluster;
  const trustDomain = clusterTrustDomain(cluster, federation);
  const [{ keepRoots, keepToken }, roots] = await Promise.all([import('../bearer.ts'), rootsOf(options, server, trustDomain)]);
  const dir = identityDir(name);
  await keepRoots(dir, trustDomain, roots);
  if (token !== undefined && !('tokenFile' in bearer)) await keepToken(dir, token);
  const made = { cluster, federation, server, api, bearer };
  const { value } = await withApi({ ...made, name, identityDir: dir }, (client) => client.call<{ readonly caller: string }>('getWhoAmI'));
  await saveContext(name, made);
  printOutcome(context, `logged in as ${value.caller}; context ${name} is in use`, { context: name, caller: value.caller, cluster, federation });
}

/** With a secret the client is a program; without one a person says yes in a browser. */
async function loginByIssuer(context: CommandContext, options: Options): Promise<void> {
  const { issuer, clientId, clientSecretFile, issuerCa, scope, audience } = options;
  if (typeof clientId !== 'string') throw fail('CLI_BAD_INPUT', '--issuer needs --client-id');
  const bearer = {
    issuer: String(issuer), clientId,
    ...(typeof clientSecretFile === 'string' && { clientSecretFile: resolve(clientSecretFile) }),
    ...(typeof issuerCa === 'string' && { caFile: resolve(issuerCa) }),
    ...(typeof scope === 'string' && { scope }),
    ...(typeof audience === 'string' && { audience }),
  };
  if (typeof clientSecretFile === 'string') return loginByToken(context, options, bearer);
  const { deviceToken } = await import('../token-issuer.ts');
  return loginByToken(context, options, bearer, await deviceToken(bearer, ({ address, code }) => context.stderr.write(`Open ${address}\nand say yes to the code ${code}\n`)));
}

function serverOf(options: Options): string {
  if (typeof options['server'] !== 'string') throw fail('CLI_BAD_INPUT', '--server is missing', { hint: 'the cluster’s gateway as host:port' });
  return options['server'];
}

/** The root the cluster is known by: from a file, or the one with this SHA-256 that the server presents. */
async function rootsOf(options: Options, address: string, trustDomain: TrustDomain): Promise<readonly Buffer[]> {
  const { root, rootSha256 } = options;
  if (typeof root === 'string') {
    const blocks = (await readText('--root', root)).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) throw fail('CLI_BAD_INPUT', `--root: ${root} holds no PEM certificate`);
    return blocks.map((block) => new X509Certificate(block).raw);
  }
  if (typeof rootSha256 !== 'string' || !/^[0-9a-f]{64}$/.test(rootSha256)) throw fail('CLI_BAD_INPUT', 'whom to trust is not said: give --root or --root-sha256', { hint: '`isthmus status` in the cluster shows the root’s SHA-256' });
  const { fetchPinnedRoot } = await import('@isthmus/rpc');
  return [await fetchPinnedRoot({ address, serverName: reservedSni('control-plane', trustDomain), pinsSha256: [rootSha256], timeoutMs: PIN_TIMEOUT_MS })];
}

const PIN_TIMEOUT_MS = 5_000;

/** A token given as text would stay in the shell's history: a file or standard input is better. */
async function readToken(given: string): Promise<string> {
  if (given.startsWith('ijt1.') || given.startsWith('eyJ')) return given;
  return (await readText('--token', given)).trim();
}

async function readText(option: string, file: string): Promise<string> {
  try {
    // Who makes the token may still be at it: a pipe is waited for.
    return file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw fail('CLI_BAD_INPUT', `${option}: cannot read ${file}: ${messageOf(error)}`);
  }
}

export async function listContexts(context: CommandContext): Promise<void> {
  const { contexts, current } = await readContexts();
  const rows = Object.entries(contexts).map(([name, c]) => ({ name, current: name === current, ...c }));
  printRows(context, rows, [
    ['', (c) => (c.current ? '*' : ' ')],
    ['name', (c) => c.name],
    ['cluster', (c) => `${c.cluster}.${c.federation}`],
    ['admin API', (c) => c.api],
  ]);
}

export async function chooseContext(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  await useContext(name);
  printOutcome(context, `context ${name} is in use`, { current: name });
}

/**
 * Writes a context's identity, renewed where it is past its half, as PEM for programs that ask the admin API themselves,
 * such as curl or Terraform: `svid.pem`, `key.pem` and `ca.pem`, each of mode 0600.
 */
export async function exportContext(context: CommandContext, [name]: readonly string[], options: Options): Promise<void> {
  const chosen = await findContext(name);
  if (chosen === undefined) throw fail('CLI_CONTEXT_UNKNOWN', 'no context is in use', { hint: 'get one with `isthmus login`' });
  if (chosen.bearer !== undefined) throw fail('CLI_BAD_INPUT', `context ${chosen.name} has a bearer token and no certificate`, { hint: 'give the program the token itself' });
  const [{ svidToPem, toPem }, { makePrivateDir, writePrivateFile }] = await Promise.all([import('@isthmus/pki'), import('@isthmus/runtime')]);
  const identity = await openIdentity(chosen);
  try {
    const svid = identity.svids.current();
    const bundle = identity.bundles.get(clusterTrustDomain(chosen.cluster, chosen.federation));
    if (svid === undefined || bundle === undefined) throw fail('CLI_LOGGED_OUT', 'the login has run out', { hint: 'get a new token and run `isthmus login`' });
    const dir = resolve(String(options['out']));
    const { certPem, keyPem } = svidToPem(svid);
    await makePrivateDir(dir);
    await writePrivateFile(join(dir, 'key.pem'), keyPem);
    await writePrivateFile(join(dir, 'svid.pem'), certPem);
    await writePrivateFile(join(dir, 'ca.pem'), bundle.x509Authorities.map((der) => toPem(Buffer.from(der, 'base64'))).join(''));
    printOutcome(context, `${svid.spiffeId} in ${dir}, good until ${instant(svid.expiresAtMs) ?? ''}`, { spiffeId: svid.spiffeId, directory: dir, expiresAtMs: svid.expiresAtMs });
  } finally {
    await identity.close();
  }
}

export async function forgetContext(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  await removeContext(name);
  printOutcome(context, `context ${name} is forgotten, and its identity`, { removed: name });
}

/** Who the admin API takes the caller for, and what that one may do. */
export async function whoAmI(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const chosen = context.api ?? (await findContext(typeof options['context'] === 'string' ? options['context'] : undefined));
  if (chosen === undefined) throw fail('CLI_CONTEXT_UNKNOWN', 'no context is in use', { hint: 'get one with `isthmus login`' });
  const { value } = await withApi(chosen, (client) => client.call<{ caller: string; cluster: string; grants: readonly { role: string; clusters: unknown; namespaces: unknown }[] }>('getWhoAmI'));
  const grants = value.grants.map((g) => `${g.role} in clusters ${String(g.clusters)}, namespaces ${String(g.namespaces)}`);
  printOutcome(context, [value.caller, ...(grants.length === 0 ? ['is granted nothing'] : grants)].join('\n'), value);
}
