// Foreign trust domains as commands use them: over the admin API where a context is in use, else over the control plane's own socket.
import { type FederatedTrustDomain, IsthmusError } from '@isthmus/model';
import { call, foreign, type RpcChannel } from '@isthmus/rpc';
import { type Document, fromJson } from './admin.ts';
import { apiAsAdmin, withApi } from './api.ts';
import { type CommandContext, withChannel } from './context.ts';

const TIMEOUT_MS = 10_000;

export type ExportedBundle = { readonly trustDomain: string; readonly document: Buffer; readonly sequence: number; readonly sha256: string };

export interface ForeignTrustApi {
  declare(declared: FederatedTrustDomain): Promise<{ readonly changed: boolean }>;
  remove(trustDomain: string): Promise<{ readonly existed: boolean }>;
  /** What is known of each bundle. */
  states(): Promise<readonly Document[]>;
  importBundle(trustDomain: string, document: Buffer, sha256: string): Promise<{ readonly changed: boolean; readonly sequence: number }>;
  /** A bundle in force; empty: the cluster's own. **Throws** IDENTITY_FOREIGN_UNKNOWN. */
  exportBundle(trustDomain: string): Promise<ExportedBundle>;
}

/** Opens the way in use, hands it to `use`, closes it. */
export function withForeignTrust<T>(context: CommandContext, use: (api: ForeignTrustApi) => Promise<T>): Promise<T> {
  const { api, cluster } = context;
  if (api === undefined) return withChannel(context.socketOf(), (channel) => use(overSocket(channel)));
  return withApi(api, (client) => {
    const admin = apiAsAdmin(client, cluster);
    return use({
      declare: (declared) => admin.apply(declared),
      remove: (trustDomain) => admin.delete('federated-trust-domain', '', trustDomain),
      states: async () => {
        const states: Document[] = [];
        for (const { trustDomain } of (await admin.list('federated-trust-domain')) as readonly { readonly trustDomain?: unknown }[]) {
          // It may be dropped between the list and this.
          const state = await client.call<Document>('getForeignBundle', { params: { cluster, trustDomain: String(trustDomain) } }).catch((error: unknown) => {
            if (error instanceof IsthmusError && error.class === 'not-found') return undefined;
            throw error;
          });
          if (state !== undefined) states.push(state.value);
        }
        return states;
      },
      importBundle: async (trustDomain, document, sha256) =>
        (await client.call<{ changed: boolean; sequence: number }>('putForeignBundle', { params: { cluster, trustDomain }, body: { document: document.toString('utf8'), sha256: sha256.toLowerCase().replaceAll(':', '') } })).value,
      exportBundle: async (trustDomain) => {
        const wanted = trustDomain === '' ? `${cluster}.${api.federation}` : trustDomain;
        const { value } = await client.call<Omit<ExportedBundle, 'document'> & { readonly document: string }>('getBundleDocument', { params: { cluster, trustDomain: wanted } });
        return { ...value, document: Buffer.from(value.document) };
      },
    });
  });
}

function overSocket(channel: RpcChannel): ForeignTrustApi {
  const client = channel.client(foreign.ForeignTrustClient);
  const limit = { timeoutMs: TIMEOUT_MS };
  return {
    declare: (declared) => call(client.declare.bind(client), { document: Buffer.from(JSON.stringify(declared)) }, limit),
    remove: (trustDomain) => call(client.remove.bind(client), { trustDomain }, limit),
    states: async () => (await call(client.list.bind(client), {}, limit)).documents.map(fromJson),
    importBundle: async (trustDomain, document, sha256) => {
      const { changed, sequence } = await call(client.importBundle.bind(client), { trustDomain, document, sha256 }, limit);
      return { changed, sequence: Number(sequence) };
    },
    exportBundle: async (trustDomain) => {
      const exported = await call(client.exportBundle.bind(client), { trustDomain }, limit);
      return { ...exported, document: Buffer.from(exported.document), sequence: Number(exported.sequence) };
    },
  };
}
