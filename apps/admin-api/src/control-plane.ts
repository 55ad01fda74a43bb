// This cluster's control plane over its Unix socket: the only writer of the store, and the only source of what is read.
import { IsthmusError } from '@isthmus/model';
import { admin, call, foreign, fromServiceError, openChannel } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';

/** A thing with its key; `revision` is 0 where it is not kept in the store. */
export type Found = { readonly key: string; readonly document: Readonly<Record<string, unknown>>; readonly revision: bigint };
export type WriteOptions = { readonly ifRevision?: bigint | undefined; readonly dryRun: boolean; readonly idempotencyKey: string; readonly caller: string };

export type BanSubject = { readonly kind: 'agent' | 'gateway' | 'service'; readonly namespace: string; readonly name: string };

export interface ControlPlane {
  list(request: { readonly kind: string; readonly namespace?: string; readonly after?: string; readonly limit?: number }): Promise<{ readonly items: readonly Found[]; readonly hasMore: boolean }>;
  get(kind: string, key: string): Promise<Found | undefined>;
  apply(document: unknown, write: WriteOptions): Promise<admin.ApplyResponse>;
  delete(kind: string, namespace: string, name: string, write: WriteOptions): Promise<admin.DeleteResponse>;
  createJoinToken(request: { readonly agent: string; readonly role: string; readonly services: readonly string[]; readonly ttlSeconds: number }, write: WriteOptions): Promise<admin.CreateJoinTokenResponse>;
  ban(subject: BanSubject, reason: string, write: WriteOptions): Promise<admin.BanResponse>;
  /** `existed`: whether there was a ban. */
  unban(subject: BanSubject, write: WriteOptions): Promise<admin.UnbanResponse>;
  /** `existed`: whether anything kept it from attesting. */
  readmit(agent: string, write: WriteOptions): Promise<admin.ReadmitResponse>;
  /** Takes a bundle document brought by hand. **Throws** IDENTITY_FOREIGN_UNKNOWN, IDENTITY_BUNDLE_FINGERPRINT, IDENTITY_BUNDLE_REFUSED. */
  importBundle(trustDomain: string, document: string, sha256: string): Promise<{ readonly changed: boolean; readonly sequence: number }>;
  /** A bundle in force as a SPIFFE bundle document. **Throws** IDENTITY_FOREIGN_UNKNOWN. */
  exportBundle(trustDomain: string): Promise<{ readonly trustDomain: string; readonly document: string; readonly sequence: number; readonly sha256: string }>;
  /** What is known of the bundle of each foreign trust domain. */
  foreignStates(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  status(): Promise<Readonly<Record<string, unknown>>>;
  /** Everything of a kind, then changes; ends with the signal. A consumer that does not read holds the stream back. */
  watch(kind: string, namespace: string, signal: AbortSignal): AsyncGenerator<admin.WatchResponse, void, undefined>;
  issue(csr: Uint8Array, signal?: AbortSignal): ReturnType<typeof issueOver>;
  close(): void;
}

const TIMEOUT_MS = 10_000;

/** Opens the channel; every call **throws** the control plane's own errors, or RPC_UNAVAILABLE and RPC_TIMEOUT. */
export function openControlPlane(options: { readonly socket: string; readonly log: Log }): ControlPlane {
  const channel = openChannel({ address: `unix:${options.socket}`, log: options.log });
  const client = channel.client(admin.AdminClient);
  const trust = channel.client(foreign.ForeignTrustClient);
  const limit = { timeoutMs: TIMEOUT_MS };
  return {
    list: async ({ kind, namespace = '', after = '', limit: count = 0 }) => {
      const page = await call(client.list.bind(client), { kind, namespace, after, limit: count }, limit);
      return { items: page.documents.map((bytes, i) => ({ key: page.keys[i] ?? '', document: fromJson(bytes), revision: page.revisions[i] ?? 0n })), hasMore: page.more };
    },
    get: async (kind, key) => {
      const found = await call(client.get.bind(client), { kind, key }, limit);
      return found.document.length === 0 ? undefined : { key, document: fromJson(found.document), revision: found.revision };
    },
    apply: (document, write) => call(client.apply.bind(client), { document: Buffer.from(JSON.stringify(document)), write: toWrite(write) }, limit),
    delete: (kind, namespace, name, write) => call(client.delete.bind(client), { kind, namespace, name, write: toWrite(write) }, limit),
    createJoinToken: (request, write) => call(client.createJoinToken.bind(client), { ...request, services: [...request.services], write: toWrite(write) }, limit),
    ban: (subject, reason, write) => call(client.ban.bind(client), { ...subject, reason, write: toWrite(write) }, limit),
    unban: (subject, write) => call(client.unban.bind(client), { ...subject, write: toWrite(write) }, limit),
    readmit: (agent, write) => call(client.readmit.bind(client), { agent, write: toWrite(write) }, limit),
    importBundle: async (trustDomain, document, sha256) => {
      const { changed, sequence } = await call(trust.importBundle.bind(trust), { trustDomain, document: Buffer.from(document), sha256 }, limit);
      return { changed, sequence: Number(sequence) };
    },
    exportBundle: async (trustDomain) => {
      const found = await call(trust.exportBundle.bind(trust), { trustDomain }, limit);
      return { trustDomain: found.trustDomain, document: Buffer.from(found.document).toString('utf8'), sequence: Number(found.sequence), sha256: found.sha256 };
    },
    foreignStates: async () => (await call(trust.list.bind(trust), {}, limit)).documents.map(fromJson),
    status: async () => fromJson((await call(client.status.bind(client), {}, limit)).document),
    async *watch(kind, namespace, signal) {
      const stream = client.watch({ kind, namespace });
      const end = (): void => stream.cancel();
      signal.addEventListener('abort', end, { once: true });
      try {
        for await (const response of stream as AsyncIterable<admin.WatchResponse>) yield response;
      } catch (error) {
        if (!signal.aborted) throw fromServiceError(error);
      } finally {
        signal.removeEventListener('abort', end);
        stream.cancel();
      }
    },
    issue: (csr, signal) => issueOver(client, csr, signal),
    close: () => channel.close(),
  };
}

function issueOver(client: admin.AdminClient, csr: Uint8Array, signal?: AbortSignal) {
  return call(client.issueAdminApi.bind(client), { csr: Buffer.from(csr) }, { timeoutMs: TIMEOUT_MS, ...(signal && { signal }) });
}

function toWrite({ ifRevision, dryRun, idempotencyKey, caller }: WriteOptions): admin.Write {
  return { ifRevision, dryRun, idempotencyKey, caller };
}

/** Reads a document of the control plane. **Throws** IsthmusError where it is none. */
export function fromJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (typeof value !== 'object' || value === null) throw new IsthmusError('API_INTERNAL', 'internal', 'the control plane answered something that is no document');
  return value as Readonly<Record<string, unknown>>;
}
