// Contexts: the federations a person has logged in to, which of them commands talk to, and the identity for each.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { compileSchema, formatProblems, messageOf, parseDnsLabel, schemas, type Static, strict, Type } from '@isthmus/model';
import { makePrivateDir, readPrivateFile, writePrivateFile } from '@isthmus/runtime';
import { fail } from './errors.ts';

/** Where a context's bearer tokens come from. */
const bearerSchema = Type.Union([
  /** A file somebody else keeps fresh; read for each command. */
  strict({ tokenFile: Type.String({ maxLength: 4_096 }) }),
  /** A token given once, kept beside the context. */
  strict({ stored: Type.Literal(true) }),
  /** An issuer: by a client's secret (RFC 6749 §4.4) a token is got when there is none that lasts; without one a person says yes in a browser (RFC 8628). */
  strict({
    issuer: Type.String({ pattern: '^https?://', maxLength: 512 }),
    clientId: Type.String({ minLength: 1, maxLength: 255 }),
    clientSecretFile: Type.Optional(Type.String({ maxLength: 4_096 })),
    caFile: Type.Optional(Type.String({ maxLength: 4_096 })),
    scope: Type.Optional(Type.String({ maxLength: 1_024 })),
    audience: Type.Optional(Type.String({ maxLength: 512 })),
  }),
]);
export type BearerSource = Static<typeof bearerSchema>;

const contextSchema = strict({
  cluster: schemas.dnsLabel,
  federation: Type.String({ maxLength: 255 }),
  /** `host:port` of the control plane or of the gateway in front of it: where the identity is renewed. */
  server: schemas.hostPort,
  /** `host:port` of the admin API or of the same gateway. */
  api: schemas.hostPort,
  /** Without it the context has an SVID of its own. */
  bearer: Type.Optional(bearerSchema),
});
export type ApiContext = Static<typeof contextSchema> & { readonly name: string; readonly identityDir: string };

const fileSchema = strict({ current: Type.Optional(Type.String({ maxLength: 63 })), contexts: Type.Record(Type.String({ maxLength: 63 }), contextSchema) });
const parseFile = compileSchema(fileSchema);
type ContextsFile = Static<typeof fileSchema>;

const MAX_FILE_BYTES = 1024 * 1024;

/** Directory of the contexts and their identities, mode 0700: `ISTHMUS_HOME`, else `isthmus` below the user's configuration (XDG Base Directory). */
export function contextsDir(env: NodeJS.ProcessEnv = process.env): string {
  return env['ISTHMUS_HOME'] ?? join(env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config'), 'isthmus');
}

/** **Throws** CLI_CONTEXTS_BROKEN naming what is wrong, STATE_EXPOSED when others may read the file. */
export async function readContexts(dir = contextsDir()): Promise<ContextsFile> {
  const path = join(dir, 'contexts.json');
  if (!existsSync(path)) return { contexts: {} };
  const text = (await readPrivateFile(path, { maxBytes: MAX_FILE_BYTES })).toString('utf8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw fail('CLI_CONTEXTS_BROKEN', `${path} is not JSON: ${messageOf(error)}`, { hint: 'put it right, or remove it and log in again' });
  }
  const parsed = parseFile(json);
  if (!parsed.ok) throw fail('CLI_CONTEXTS_BROKEN', `${path}: ${formatProblems(parsed.problems)}`, { hint: 'put it right, or remove it and log in again' });
  return parsed.value;
}

/** The context a command talks to: the one named, else the current one, else none. **Throws** CLI_CONTEXT_UNKNOWN. */
export async function findContext(name: string | undefined, dir = contextsDir()): Promise<ApiContext | undefined> {
  const { contexts, current } = await readContexts(dir);
  const wanted = name ?? current;
  if (wanted === undefined || wanted === '') return undefined;
  const found = Object.hasOwn(contexts, wanted) ? contexts[wanted] : undefined;
  if (found === undefined) throw unknown(wanted, Object.keys(contexts));
  return { ...found, name: wanted, identityDir: identityDir(wanted, dir) };
}

/** Adds or replaces a context and makes it the current one. */
export async function saveContext(name: string, context: Static<typeof contextSchema>, dir = contextsDir()): Promise<void> {
  const label = parseDnsLabel(name);
  if (!label.ok) throw fail('CLI_BAD_INPUT', `--context: ${formatProblems(label.problems)}`);
  const file = await readContexts(dir);
  await write({ current: name, contexts: { ...file.contexts, [name]: context } }, dir);
}

/** **Throws** CLI_CONTEXT_UNKNOWN. */
export async function useContext(name: string, dir = contextsDir()): Promise<void> {
  const file = await readContexts(dir);
  if (!Object.hasOwn(file.contexts, name)) throw unknown(name, Object.keys(file.contexts));
  await write({ ...file, current: name }, dir);
}

/** Forgets a context and its identity; the entry in the cluster stays until somebody takes it there. */
export async function removeContext(name: string, dir = contextsDir()): Promise<void> {
  const file = await readContexts(dir);
  if (!Object.hasOwn(file.contexts, name)) throw unknown(name, Object.keys(file.contexts));
  const contexts = Object.fromEntries(Object.entries(file.contexts).filter(([other]) => other !== name));
  await write({ contexts, ...(file.current !== undefined && file.current !== name && { current: file.current }) }, dir);
  await rm(identityDir(name, dir), { recursive: true, force: true });
}

export function identityDir(name: string, dir = contextsDir()): string {
  return join(dir, 'identities', name);
}

async function write(file: ContextsFile, dir: string): Promise<void> {
  await makePrivateDir(dir);
  await writePrivateFile(join(dir, 'contexts.json'), `${JSON.stringify(file, undefined, 2)}\n`);
}

function unknown(name: string, known: readonly string[]): Error {
  return fail('CLI_CONTEXT_UNKNOWN', `there is no context ${JSON.stringify(name)}`, { hint: known.length === 0 ? 'get one with `isthmus login`' : `contexts: ${known.join(', ')}` });
}
