// `isthmus login` and `isthmus context …`: getting an identity from a cluster, and choosing which of them commands use.
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { clusterTrustDomain, messageOf } from '@isthmus/model';
import { openIdentity, withApi } from '../api.ts';
import type { CommandContext } from '../context.ts';
import { findContext, identityDir, readContexts, removeContext, saveContext, useContext } from '../contexts.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../program.ts';
import { instant } from './token.ts';

/** Spends an operator's join token and remembers the cluster as a context. */
export async function login(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const token = await readToken(String(options['token']));
  const server = String(options['server']);
  const api = typeof options['api'] === 'string' ? options['api'] : server;
  const { parseToken } = await import('@isthmus/pki');
  const read = parseToken(token);
  const { cluster, federation, agent, role } = read.ok ? read.value.fields : {};
  if (cluster === undefined || federation === undefined || agent === undefined || role !== 'operator') {
    throw fail('CLI_BAD_INPUT', '--token: this is no operator’s join token', { hint: 'make one with `isthmus token create NAME --role operator`' });
  }
  const name = typeof options['context'] === 'string' ? options['context'] : cluster;
  const identity = await openIdentity({ server, identityDir: identityDir(name) }, token);
  const { spiffeId } = identity;
  await identity.close();
  await saveContext(name, { cluster, federation, server, api });
  printOutcome(context, `logged in as ${spiffeId}; context ${name} is in use`, { context: name, spiffeId, cluster, federation });
}

/** A token given as text would stay in the shell's history: a file or standard input is better. */
async function readToken(given: string): Promise<string> {
  if (given.startsWith('ijt1.')) return given;
  try {
    // Who makes the token may still be at it: a pipe is waited for.
    return (given === '-' ? await text(process.stdin) : await readFile(given, 'utf8')).trim();
  } catch (error) {
    throw fail('CLI_BAD_INPUT', `--token: cannot read ${given}: ${messageOf(error)}`);
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
