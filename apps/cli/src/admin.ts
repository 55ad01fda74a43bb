// The control plane's Admin service as commands use it: JSON documents in and out, limits on every wait.
import { admin, call, type RpcChannel } from '@isthmus/rpc';
import { parseServiceName, type ServiceName, formatProblems } from '@isthmus/model';
import { type CommandContext, withChannel } from './context.ts';
import { fail } from './errors.ts';

/** A document of the admin API; its fields are read one by one, since a control plane may be a version ahead. */
export type Document = Readonly<Record<string, unknown>>;

const TIMEOUT_MS = 5_000;

export interface AdminApi {
  /** `dryRun` checks everything and changes nothing. */
  apply(document: object, options?: { readonly dryRun?: boolean }): Promise<{ readonly changed: boolean }>;
  delete(kind: string, namespace: string, name: string): Promise<{ readonly existed: boolean }>;
  get(kind: string, namespace: string, name: string): Promise<Document | undefined>;
  list(kind: string, namespace?: string): Promise<readonly Document[]>;
  createJoinToken(request: { readonly agent: string; readonly role: string; readonly services: readonly string[]; readonly ttlSeconds: number }): Promise<{ readonly token: string; readonly id: string; readonly expiresAtMs: number }>;
  readmit(agent: string): Promise<{ readonly existed: boolean }>;
  ban(request: { readonly kind: string; readonly namespace: string; readonly name: string; readonly reason: string }): Promise<unknown>;
  unban(request: { readonly kind: string; readonly namespace: string; readonly name: string }): Promise<{ readonly existed: boolean }>;
  status(): Promise<Document>;
}

/** The Admin service over an open channel. */
export function adminApi(channel: RpcChannel): AdminApi {
  const client = channel.client(admin.AdminClient);
  const limit = { timeoutMs: TIMEOUT_MS };
  return {
    apply: (document, { dryRun = false } = {}) => call(client.apply.bind(client), { document: Buffer.from(JSON.stringify(document)), write: dryRun ? { ifRevision: undefined, dryRun, idempotencyKey: '', caller: '' } : undefined }, limit),
    delete: (kind, namespace, name) => call(client.delete.bind(client), { kind, namespace, name, write: undefined }, limit),
    get: async (kind, namespace, name) => {
      const { document } = await call(client.get.bind(client), { kind, key: namespace === '' ? name : `${namespace}/${name}` }, limit);
      return document.length === 0 ? undefined : fromJson(document);
    },
    list: async (kind, namespace = '') => (await call(client.list.bind(client), { kind, namespace, after: '', limit: 0 }, limit)).documents.map(fromJson),
    createJoinToken: async (request) => {
      const made = await call(client.createJoinToken.bind(client), { ...request, services: [...request.services], write: undefined }, limit);
      return { token: made.token, id: made.id, expiresAtMs: Number(made.expiresAtMs) };
    },
    readmit: (agent) => call(client.readmit.bind(client), { agent, write: undefined }, limit),
    ban: (request) => call(client.ban.bind(client), { ...request, write: undefined }, limit),
    unban: (request) => call(client.unban.bind(client), { ...request, write: undefined }, limit),
    status: async () => fromJson((await call(client.status.bind(client), {}, limit)).document),
  };
}

/** Hands `use` the admin API of the context in use, or else the Admin service of the control plane's own socket. */
export async function withAdmin<T>(context: CommandContext, use: (api: AdminApi) => Promise<T>): Promise<T> {
  if (context.api !== undefined) {
    const { apiAsAdmin, withApi } = await import('./api.ts');
    return withApi(context.api, (client) => use(apiAsAdmin(client, context.cluster)));
  }
  return withChannel(context.socketOf(), (channel) => use(adminApi(channel)));
}

/** Reads a JSON document of the wire. */
export function fromJson(bytes: Uint8Array): Document {
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as Document;
}

/** Parses `namespace/name` given as argument; throws CLI_BAD_INPUT. */
export function serviceArgument(text: string | undefined): ServiceName {
  const parsed = parseServiceName(text ?? '');
  if (!parsed.ok) throw fail('CLI_BAD_INPUT', formatProblems(parsed.problems), { hint: 'write it as namespace/name, such as shop/payments' });
  return parsed.value;
}
