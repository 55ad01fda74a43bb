// The trust root as commands and tours use it: over its own socket, or through the admin API of the context in use.
import { randomUUID } from 'node:crypto';
import type { LogRecord, RotationDocument } from '@isthmus/identity';
import type { ApiClient, Item } from '@isthmus/api';
import { call, type RpcChannel, trust } from '@isthmus/rpc';
import { type CommandContext, withChannel } from './context.ts';
import { fail } from './errors.ts';

const TIMEOUT_MS = 10_000;

export type RotateRequest = {
  readonly action: 'begin' | 'pause' | 'resume' | 'rollback' | 'without';
  readonly without?: readonly string[];
  readonly compromised?: boolean;
  readonly holdBefore?: string;
};

export interface RotationApi {
  /** How things stand after it. **Throws** IDENTITY_ROTATION_REFUSED. */
  rotate(request: RotateRequest): Promise<RotationDocument>;
  rotation(): Promise<RotationDocument>;
  /** Proves the caller anew under the roots of this moment; where that is not by certificates, nothing. */
  renew?(): Promise<void>;
}

export type MemberRow = { readonly cluster: string; readonly trustDomain: string; readonly locality: string; readonly gateways: readonly string[] };

/** Everything a command asks of the trust root; **throws** the trust root's own errors. */
export interface TrustRootApi extends RotationApi {
  members(): Promise<readonly MemberRow[]>;
  fence(cluster: string, reason: string): Promise<void>;
  unfence(cluster: string): Promise<void>;
  createClusterToken(request: { readonly cluster: string; readonly ttlSeconds: number; readonly replace: boolean }): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  removeCluster(cluster: string): Promise<void>;
  /** The newest records of its log, oldest first. */
  log(last: number): Promise<readonly LogRecord[]>;
  /** Signs the log's head; at its own socket only. */
  checkpoint(): Promise<{ readonly records: number; readonly hash: string }>;
}

/** Opens the way in use, hands it to `use`, closes it. */
export async function withTrustRoot<T>(context: CommandContext, use: (api: TrustRootApi) => Promise<T>): Promise<T> {
  if (context.api === undefined) return withChannel(context.socketOf(), (channel) => use(trustRootApi(channel)));
  const { withApi } = await import('./api.ts');
  return withApi(context.api, (client, renew) => use({ ...overAdminApi(client), renew }));
}

/** The rotation over an open channel. */
export function rotationApi(channel: RpcChannel): RotationApi {
  return trustRootApi(channel);
}

function trustRootApi(channel: RpcChannel): TrustRootApi {
  const client = channel.client(trust.TrustRootAdminClient);
  const limit = { timeoutMs: TIMEOUT_MS };
  const read = ({ document }: trust.RotationStatus): RotationDocument => JSON.parse(Buffer.from(document).toString('utf8')) as RotationDocument;
  return {
    rotate: async ({ action, without = [], compromised = false, holdBefore = '' }) =>
      read(await call(client.rotate.bind(client), { action, without: [...without], compromised, holdBefore }, limit)),
    rotation: async () => read(await call(client.getRotation.bind(client), {}, limit)),
    members: async () => (await call(client.getFederation.bind(client), {}, limit)).members,
    fence: async (cluster, reason) => void (await call(client.fenceCluster.bind(client), { cluster, reason }, limit)),
    unfence: async (cluster) => void (await call(client.unfenceCluster.bind(client), { cluster }, limit)),
    createClusterToken: async (request) => {
      const { token, expiresAtMs } = await call(client.createClusterToken.bind(client), request, limit);
      return { token, expiresAtMs: Number(expiresAtMs) };
    },
    removeCluster: async (cluster) => void (await call(client.removeCluster.bind(client), { cluster }, limit)),
    log: async (last) => (await call(client.getLog.bind(client), { last }, limit)).records.map((bytes) => JSON.parse(Buffer.from(bytes).toString()) as LogRecord),
    checkpoint: async () => {
      const { records, hash } = await call(client.checkpointLog.bind(client), {}, limit);
      return { records: Number(records), hash };
    },
  };
}

function overAdminApi(client: ApiClient): TrustRootApi {
  // A key for each write: a retry below this call cannot do it twice.
  const write = <T>(id: string, request: Parameters<ApiClient['call']>[1] = {}): Promise<T> => asked(id, { ...request, idempotencyKey: randomUUID() });
  const asked = async <T>(id: string, request: Parameters<ApiClient['call']>[1] = {}): Promise<T> => (await client.call<T>(id, request)).value;
  return {
    rotate: ({ without = [], ...request }) => write('rotateTrust', { body: { ...request, ...(without.length > 0 && { without }) } }),
    rotation: () => asked('getTrust'),
    members: async () => {
      const members: MemberRow[] = [];
      for await (const { document } of client.list('listClusters') as AsyncGenerator<Item<MemberRow>>) members.push(document);
      return members;
    },
    fence: async (member, reason) => void (await write('putFence', { params: { member }, body: reason === '' ? {} : { reason } })),
    unfence: async (member) => void (await write('deleteFence', { params: { member } })),
    createClusterToken: (body) => write('createClusterToken', { body }),
    removeCluster: async (member) => void (await write('removeMember', { params: { member } })),
    log: async (last) => (await asked<{ readonly items: readonly LogRecord[] }>('listTrustLog', { query: { last: String(last) } })).items,
    checkpoint: () => Promise.reject(fail('CLI_BAD_INPUT', 'the log is signed at the trust root’s own socket only', { hint: 'run it on the trust root’s machine, with --socket' })),
  };
}
