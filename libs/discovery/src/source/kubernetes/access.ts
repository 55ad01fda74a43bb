// Where the API server is and what is shown to it: a pod's own service account, or a kubeconfig.
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { formatProblems, messageOf } from '@isthmus/model';
import { fail } from '../../errors.ts';
import { type Access, type FileOrText, parseKubeconfig, serverProblems } from './kubeconfig.ts';

/** Where Kubernetes puts a pod's own token and its cluster's CA. */
const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The address a pod has its API server at, under the cluster's own DNS and in every serving certificate of it. */
const IN_CLUSTER_SERVER = 'https://kubernetes.default.svc';
const MAX_FILE_BYTES = 1024 * 1024;

export type AccessOptions = {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** For pods: the API server's address (default: https://kubernetes.default.svc). */
  readonly server?: string | undefined;
  /** For pods: folder with `token` and `ca.crt`. */
  readonly serviceAccountDir?: string | undefined;
};

/** Access as the options say; file names of a kubeconfig are relative to it. **Throws** DISCOVERY_KUBERNETES_CONFIG. */
export async function openAccess(options: AccessOptions): Promise<Access> {
  if (options.kubeconfig === undefined) {
    const directory = options.serviceAccountDir ?? SERVICE_ACCOUNT_DIR;
    const server = options.server ?? IN_CLUSTER_SERVER;
    const problems = serverProblems(server);
    if (problems.length > 0) throw fail('DISCOVERY_KUBERNETES_CONFIG', `kubernetes.${formatProblems(problems)}`);
    return { server, ca: { file: join(directory, 'ca.crt') }, token: { file: join(directory, 'token') } };
  }
  const path = options.kubeconfig;
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fail('DISCOVERY_KUBERNETES_CONFIG', `kubeconfig cannot be read: ${messageOf(error)}`, { cause: error });
  });
  const read = parseKubeconfig(text, { fileName: path, ...(options.context !== undefined && { context: options.context }) });
  if (!read.ok) throw fail('DISCOVERY_KUBERNETES_CONFIG', `kubeconfig ${path}: ${formatProblems(read.problems)}`);
  return inFolder(read.value, dirname(path));
}

function inFolder(access: Access, folder: string): Access {
  const placed = (at: FileOrText): FileOrText => ('file' in at && !isAbsolute(at.file) ? { file: join(folder, at.file) } : at);
  const { ca, token, clientCertificate } = access;
  return {
    ...access,
    ...(ca && { ca: placed(ca) }),
    ...(token && { token: placed(token) }),
    ...(clientCertificate && { clientCertificate: { certificate: placed(clientCertificate.certificate), key: placed(clientCertificate.key) } }),
  };
}

/** What a connection is made with now. */
export type TlsMaterial = { readonly ca?: string; readonly cert?: string; readonly key?: string; readonly servername?: string };

/** Reads CA, certificate and key anew, since all of them rotate. **Throws** DISCOVERY_KUBERNETES_AWAY when a file is not there. */
export async function readTls(access: Access): Promise<TlsMaterial> {
  const [ca, cert, key] = await Promise.all([access.ca, access.clientCertificate?.certificate, access.clientCertificate?.key].map((at) => (at === undefined ? undefined : readText(at))));
  return { ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }), ...(access.serverName !== undefined && { servername: access.serverName }) };
}

/** The token as it stands in its file now; the kubelet replaces it before it ends. */
export async function readToken(access: Access): Promise<string | undefined> {
  return access.token === undefined ? undefined : (await readText(access.token)).trim();
}

async function readText(at: FileOrText): Promise<string> {
  if ('text' in at) return at.text;
  const text = await readFile(at.file, 'utf8').catch((error: unknown) => {
    // A projected volume is being swapped, or was never mounted: only time or a person can tell.
    throw fail('DISCOVERY_KUBERNETES_AWAY', `${at.file} cannot be read: ${messageOf(error)}`, { cause: error });
  });
  if (text.length > MAX_FILE_BYTES) throw fail('DISCOVERY_KUBERNETES_CONFIG', `${at.file} is larger than ${MAX_FILE_BYTES} bytes`);
  return text;
}
