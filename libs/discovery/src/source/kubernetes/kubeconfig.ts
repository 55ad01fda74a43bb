// A kubeconfig file as access to one API server: read strictly, and refused where it asks for what is not done here.
import { compileSchema, type Parsed, parsed, type Problem, refused, type Static, Type } from '@isthmus/model';
import { parseYaml } from '@isthmus/runtime';

const MAX_CHARS = 1024 * 1024;
const text = (maxLength: number) => Type.Optional(Type.String({ maxLength }));
const named = <K extends string, T extends ReturnType<typeof Type.Object>>(key: K, value: T) => Type.Object({ name: Type.String({ maxLength: 512 }), [key]: value } as { name: ReturnType<typeof Type.String> } & Record<K, T>);

const clusterSchema = Type.Object({
  server: Type.String({ minLength: 1, maxLength: 2_048 }),
  'certificate-authority': text(4_096),
  'certificate-authority-data': text(512 * 1024),
  'tls-server-name': text(253),
  'insecure-skip-tls-verify': Type.Optional(Type.Boolean()),
  'proxy-url': text(2_048),
});
const userSchema = Type.Object({
  token: text(65_536),
  tokenFile: text(4_096),
  'client-certificate': text(4_096),
  'client-certificate-data': text(512 * 1024),
  'client-key': text(4_096),
  'client-key-data': text(512 * 1024),
  exec: Type.Optional(Type.Unknown()),
  'auth-provider': Type.Optional(Type.Unknown()),
  username: text(1_024),
  password: text(1_024),
  as: text(1_024),
});
const kubeconfigSchema = Type.Object({
  'current-context': text(512),
  clusters: Type.Array(named('cluster', clusterSchema), { maxItems: 1_000 }),
  users: Type.Optional(Type.Union([Type.Null(), Type.Array(named('user', userSchema), { maxItems: 1_000 })])),
  contexts: Type.Array(Type.Object({ name: Type.String({ maxLength: 512 }), context: Type.Object({ cluster: Type.String({ maxLength: 512 }), user: text(512) }) }), { maxItems: 1_000 }),
});
const parseShape = compileSchema(kubeconfigSchema);

/** A thing that stands in a file, or in the kubeconfig itself. */
export type FileOrText = { readonly file: string } | { readonly text: string };

/** How an API server is reached: its address, whom to trust for it, and what to show. Files are read anew whenever they are used. */
export type Access = {
  readonly server: string;
  readonly ca?: FileOrText;
  readonly serverName?: string;
  readonly token?: FileOrText;
  readonly clientCertificate?: { readonly certificate: FileOrText; readonly key: FileOrText };
};

/**
 * Reads a kubeconfig's context (its current one without `context`). File names are left as they are written. Refused are
 * programs that make credentials (`exec`, `auth-provider`), passwords, impersonation, proxies and `insecure-skip-tls-verify`.
 */
export function parseKubeconfig(source: string, { context, fileName = 'kubeconfig' }: { readonly context?: string; readonly fileName?: string } = {}): Parsed<Access> {
  if (source.length > MAX_CHARS) return refused(fileName, `larger than ${MAX_CHARS} characters`);
  const yaml = parseYaml(source, fileName);
  if (!yaml.ok) return yaml;
  const [document, ...more] = yaml.value;
  if (document === undefined || more.length > 0) return refused(fileName, 'must hold one document');
  const shape = parseShape(document.value);
  if (!shape.ok) return { ok: false, problems: shape.problems.map((p) => ({ path: `${fileName}:${document.lineOf(p.path)} ${p.path}`, message: p.message })) };
  const config = shape.value;
  const wanted = context ?? config['current-context'] ?? '';
  const chosen = config.contexts.find((c) => c.name === wanted)?.context;
  if (chosen === undefined) return refused('contexts', wanted === '' ? 'no context is current, and none was asked for' : `there is none named ${JSON.stringify(wanted)}`);
  const cluster = config.clusters.find((c) => c.name === chosen.cluster)?.cluster;
  if (cluster === undefined) return refused('clusters', `there is none named ${JSON.stringify(chosen.cluster)}`);
  const user = chosen.user === undefined || chosen.user === '' ? {} : (config.users ?? []).find((u) => u.name === chosen.user)?.user;
  if (user === undefined) return refused('users', `there is none named ${JSON.stringify(chosen.user)}`);
  return accessOf(cluster, user);
}

function accessOf(cluster: Static<typeof clusterSchema>, user: Static<typeof userSchema>): Parsed<Access> {
  const problems: Problem[] = [...serverProblems(cluster.server)];
  const not = (path: string, isThere: boolean, why: string): void => void (isThere && problems.push({ path, message: why }));
  not('insecure-skip-tls-verify', cluster['insecure-skip-tls-verify'] === true, 'is not done here: name the CA instead');
  not('proxy-url', cluster['proxy-url'] !== undefined && cluster['proxy-url'] !== '', 'is not done here');
  not('exec', user.exec !== undefined && user.exec !== null, 'no program is run for credentials: use a token or a certificate');
  not('auth-provider', user['auth-provider'] !== undefined && user['auth-provider'] !== null, 'is not done here: use a token or a certificate');
  not('username', user.username !== undefined || user.password !== undefined, 'passwords are not used: use a token or a certificate');
  not('as', user.as !== undefined, 'impersonation is not done here');
  const ca = fileOrData(cluster['certificate-authority'], cluster['certificate-authority-data'], 'certificate-authority-data', problems);
  const certificate = fileOrData(user['client-certificate'], user['client-certificate-data'], 'client-certificate-data', problems);
  const key = fileOrData(user['client-key'], user['client-key-data'], 'client-key-data', problems);
  not('client-key', (certificate === undefined) !== (key === undefined), 'a client certificate and its key go together');
  const token: FileOrText | undefined = user.tokenFile !== undefined ? { file: user.tokenFile } : user.token !== undefined && user.token !== '' ? { text: user.token } : undefined;
  if (problems.length > 0) return { ok: false, problems };
  return parsed({
    server: cluster.server,
    ...(ca && { ca }),
    ...(cluster['tls-server-name'] !== undefined && { serverName: cluster['tls-server-name'] }),
    ...(token && { token }),
    ...(certificate && key && { clientCertificate: { certificate, key } }),
  });
}

/** What is wrong with an API server's address: only https, and http on loopback, where nobody else listens in. */
export function serverProblems(server: string): readonly Problem[] {
  const url = URL.parse(server);
  if (url === null) return [{ path: 'server', message: `${JSON.stringify(server.slice(0, 80))} is no address` }];
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal)) return [{ path: 'server', message: 'must be an https address' }];
  if (url.username !== '' || url.password !== '') return [{ path: 'server', message: 'must not hold a user or password' }];
  return url.search !== '' || url.hash !== '' ? [{ path: 'server', message: 'must end with its path' }] : [];
}

/** Embedded data wins over a file, as it does in kubectl. */
function fileOrData(file: string | undefined, data: string | undefined, path: string, problems: Problem[]): FileOrText | undefined {
  if (data === undefined || data === '') return file === undefined || file === '' ? undefined : { file };
  if (!/^[A-Za-z0-9+/\r\n]*={0,2}\s*$/.test(data)) problems.push({ path, message: 'is not base64' });
  return { text: Buffer.from(data, 'base64').toString('utf8') };
}

