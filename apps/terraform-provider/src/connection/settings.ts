// The provider block: what it may say, the environment variables that say the same, and both read into one answer.
import { formatProblems, type Problem, schemas, strict, Type } from '@isthmus/model';
import { readPrivateFile } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { attributesOf, knownProblems, toSnake } from '../from-schema.ts';
import type { Attributes } from '../protocol/attribute.ts';
import { textAt, textsAt, type ValueObject } from '../protocol/value.ts';

const text = (description: string, maxLength = 2_048) => Type.Optional(Type.String({ minLength: 1, maxLength, description }));
const MAX_PEM = 262_144;

export const settingsSchema = strict({
  endpoints: Type.Optional(
    Type.Array(schemas.hostPort, { minItems: 1, maxItems: 16, description: '`host:port` of the admin API, or of the gateways in front of it; tried one after the other' }),
  ),
  federation: text('The federation’s trust domain, such as `acme.example`', 255),
  cluster: text('Name of the cluster whose admin API answers at the endpoints. It answers for all clusters; resources that name none are this one’s', 32),
  caCertificate: text('The federation’s root certificates, PEM. The server must show an SVID of the cluster’s admin API under one of them', MAX_PEM),
  caCertificateFile: text('File of the same', 4_096),
  clientCertificate: text('The operator’s SVID with its chain, PEM, as `isthmus login` gets it', MAX_PEM),
  clientCertificateFile: text('File of the same', 4_096),
  clientKey: text('Private key of the SVID, PEM', MAX_PEM),
  clientKeyFile: text('File of the same; others must not be able to read it', 4_096),
  token: text('OIDC bearer token, in place of an SVID', 8_192),
  tokenFile: text('File of the same; others must not be able to read it. Read again when the token is refused, so that whatever renews it needs to tell nobody', 4_096),
  trustRootSocket: text('Unix socket of the trust root’s operators, also one that `ssh -L` brings here: for `isthmus_cluster` while there is no admin API that may admit clusters', 4_096),
});

const SENSITIVE = ['client_key', 'token'];
const MAX_FILE_BYTES = 1024 * 1024;

/** The variable that says the same as an attribute: `ISTHMUS_CLIENT_KEY_FILE`. */
export function environmentNameOf(attribute: string): string {
  return `ISTHMUS_${attribute.toUpperCase()}`;
}

/** The attributes of the provider block; each may be given by a variable in its place. */
export function settingsAttributes(): Attributes {
  const attributes = attributesOf(settingsSchema, { sensitive: SENSITIVE });
  return Object.fromEntries(
    Object.entries(attributes).map(([name, a]) => [name, { ...a, description: `${a.description} By variable: \`${environmentNameOf(name)}\`${name === 'endpoints' ? ', separated by commas' : ''}.` }]),
  );
}

const PAIRS = ['caCertificate', 'clientCertificate', 'clientKey', 'token'] as const;
type Pair = (typeof PAIRS)[number];

/** What is wrong with a provider block by itself. */
export function settingsProblems(config: ValueObject): readonly Problem[] {
  const twice = PAIRS.flatMap((name): Problem[] => {
    const [inline, file] = [toSnake(name), `${toSnake(name)}_file`];
    return textAt(config, inline) !== undefined && textAt(config, file) !== undefined ? [{ path: file, message: `is given, and ${inline} as well; one of both is enough` }] : [];
  });
  return [...knownProblems(settingsSchema, config), ...twice];
}

/** Everything that is needed to call. Undefined: it was not given. */
export type Settings = {
  readonly endpoints: readonly string[];
  readonly federation: string | undefined;
  readonly cluster: string | undefined;
  readonly caPem: string | undefined;
  readonly clientCertPem: string | undefined;
  readonly clientKeyPem: string | undefined;
  readonly token: string | undefined;
  /** Reads the token's file anew; undefined where it came without one. **Throws** TERRAFORM_CONFIG_INVALID, STATE_EXPOSED. */
  readonly readToken?: (() => Promise<string>) | undefined;
  readonly trustRootSocket: string | undefined;
};

type Environment = Readonly<Record<string, string | undefined>>;

/** The block, and where it is silent the environment, with files read. **Throws** TERRAFORM_CONFIG_INVALID, STATE_EXPOSED. */
export async function readSettings(config: ValueObject, env: Environment): Promise<Settings> {
  const merged = withEnvironment(config, env);
  const problems = settingsProblems(merged);
  if (problems.length > 0) throw fail('TERRAFORM_CONFIG_INVALID', formatProblems(problems.map((p) => ({ ...p, path: nameOf(p.path, config) }))));
  const contents = async (name: Pair): Promise<string | undefined> => {
    const path = textAt(merged, `${toSnake(name)}_file`);
    if (path === undefined) return textAt(merged, toSnake(name));
    return readText(path, `${toSnake(name)}_file`, SENSITIVE.includes(toSnake(name)));
  };
  const token = await contents('token');
  const tokenFile = textAt(merged, 'token_file');
  return {
    endpoints: textsAt(merged, 'endpoints'),
    federation: textAt(merged, 'federation'),
    cluster: textAt(merged, 'cluster'),
    caPem: await contents('caCertificate'),
    clientCertPem: await contents('clientCertificate'),
    clientKeyPem: await contents('clientKey'),
    token: token?.trim(),
    readToken: tokenFile === undefined ? undefined : async () => (await readText(tokenFile, 'token_file', true)).trim(),
    trustRootSocket: textAt(merged, 'trust_root_socket'),
  };
}

/** A pair is taken from one side: a file of the block goes before a variable with the text. */
function withEnvironment(config: ValueObject, env: Environment): ValueObject {
  const isGiven = (name: string): boolean => config[name] !== null && config[name] !== undefined;
  const names = Object.keys(attributesOf(settingsSchema));
  return Object.fromEntries(
    names.map((name) => {
      const other = name.endsWith('_file') ? name.slice(0, -'_file'.length) : `${name}_file`;
      const variable = env[environmentNameOf(name)];
      if (isGiven(name) || variable === undefined || variable === '' || (names.includes(other) && isGiven(other))) return [name, config[name] ?? null];
      return [name, name === 'endpoints' ? variable.split(',').map((part) => part.trim()).filter((part) => part !== '') : variable];
    }),
  );
}

/** An attribute as the person wrote it: in the block, or as a variable. */
function nameOf(path: string, config: ValueObject): string {
  const name = /^\w+/.exec(path)?.[0] ?? path;
  return config[name] === null || config[name] === undefined ? environmentNameOf(name) + path.slice(name.length) : path;
}

async function readText(path: string, attribute: string, isSecret: boolean): Promise<string> {
  const { readFile, stat } = await import('node:fs/promises');
  try {
    if (isSecret) return (await readPrivateFile(path, { maxBytes: MAX_FILE_BYTES })).toString('utf8');
    if ((await stat(path)).size > MAX_FILE_BYTES) throw new Error(`is larger than ${MAX_FILE_BYTES} bytes`);
    return await readFile(path, 'utf8');
  } catch (error) {
    throw fail('TERRAFORM_CONFIG_INVALID', `${attribute}: ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
