// etcd3 behind our own words: connections, member choice and authentication are its, retries and time limits are ours.
import { type ICompare, type IKeyValue, type IRequestOp, Etcd3 } from 'etcd3';
import { isIP } from 'node:net';
import { InterceptingCall, type InterceptorOptions, type NextCall } from './grpc.ts';
import { faultOf, type GrpcDuplex, linkStream, type StoreLink } from './link.ts';
import { type etcd, EVENT_DELETE, EVENT_PUT, type KeyValue, type RequestOp } from './wire.ts';

export interface Etcd3Options {
  readonly endpoints: readonly string[];
  readonly tls?: { readonly ca: string | Buffer; readonly cert: string | Buffer; readonly key: string | Buffer; readonly serverName?: string };
  readonly auth?: { readonly username: string; readonly password: string };
}

/** A list page of our own store may be this large; a larger one is asked for again in smaller pages. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

type IOptions = ConstructorParameters<typeof Etcd3>[0] & object;
type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/** Opens the etcd3 client; nothing is dialled yet. */
export function openEtcd3Link(options: Etcd3Options): StoreLink {
  const client = new Etcd3(toEtcd3Options(options));
  const { kv, leaseClient, watchClient } = client;
  const timed = (deadlineMs: number): { deadline: number; interceptors: (typeof requireLeader)[] } => ({ deadline: deadlineMs, interceptors: [requireLeader] });
  return {
    range: async (request, deadlineMs) => {
      const response = await kv.range(
        {
          key: request.key,
          ...rangeEndOf(request.rangeEnd),
          limit: String(request.limit),
          revision: String(request.revision),
          keys_only: request.keysOnly,
          count_only: request.countOnly,
          // Linearizable always: a member that lags behind must not take us back in time.
          serializable: false,
        },
        timed(deadlineMs),
      );
      return { header: toHeader(response.header), kvs: response.kvs.map(toKeyValue), more: response.more, count: BigInt(response.count) };
    },
    put: async (request, deadlineMs) => {
      const { header } = await kv.put({ key: request.key, value: request.value, lease: String(request.lease) }, timed(deadlineMs));
      return { revision: BigInt(header.revision) };
    },
    deleteRange: async (request, deadlineMs) => {
      const { deleted } = await kv.deleteRange({ key: request.key, ...rangeEndOf(request.rangeEnd) }, timed(deadlineMs));
      return { deleted: BigInt(deleted) };
    },
    txn: async (request, deadlineMs) => {
      const wire = { compare: request.compare.map(toCompare), success: request.success.map(toOp), failure: request.failure.map(toOp) };
      const { header, succeeded } = await kv.txn(wire, timed(deadlineMs));
      return { succeeded, revision: BigInt(header.revision) };
    },
    leaseGrant: async (ttlSeconds, deadlineMs) => {
      const { ID, TTL } = await leaseClient.leaseGrant({ TTL: String(ttlSeconds) }, timed(deadlineMs));
      return { id: BigInt(ID), ttlSeconds: BigInt(TTL) };
    },
    leaseRevoke: async (id, deadlineMs) => {
      await leaseClient.leaseRevoke({ ID: String(id) }, timed(deadlineMs));
    },
    keepAlive: async () => {
      const call = (await leaseClient.leaseKeepAlive()) as unknown as GrpcDuplex<{ ID: string }, { ID: string; TTL: string }>;
      return linkStream(
        call,
        ({ id }: { readonly id: bigint }) => ({ ID: String(id) }),
        ({ ID, TTL }) => ({ id: BigInt(ID), ttlSeconds: BigInt(TTL) }),
      );
    },
    watch: async () => {
      const call = (await watchClient.watch({ interceptors: [requireLeader] })) as unknown as GrpcDuplex<object, Etcd3WatchResponse>;
      return linkStream(call, toWatchRequest, toWatchResponse);
    },
    close: () => {
      try {
        client.close();
      } catch (error) {
        // etcd3 throws when a host is closed twice; closing is what was wanted.
        faultOf(error);
      }
    },
  };
}

function toEtcd3Options({ endpoints, tls, auth }: Etcd3Options): IOptions {
  const serverName = tls?.serverName ?? hostOf(endpoints[0] ?? '');
  return {
    hosts: endpoints.map((endpoint) => (tls === undefined || endpoint.includes('://') ? endpoint : `https://${endpoint}`)),
    ...(tls === undefined ? {} : { credentials: { rootCertificate: Buffer.from(tls.ca), privateKey: Buffer.from(tls.key), certChain: Buffer.from(tls.cert) } }),
    ...(auth === undefined ? {} : { auth }),
    // No circuit breaker and no retries of its own: it would repeat writes whose outcome is unknown.
    faultHandling: { global: passThrough, host: () => passThrough },
    grpcOptions: {
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 2_000,
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      // grpc-js on Node 26 refuses to dial TLS by IP address without it.
      ...(tls === undefined ? {} : { 'grpc.ssl_target_name_override': serverName }),
    },
  };
}

function hostOf(endpoint: string): string {
  const host = endpoint.replace(/^https?:\/\//, '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? host : 'localhost';
}

const noEvent = () => ({ dispose: () => undefined });
const passThrough = {
  onSuccess: noEvent,
  onFailure: noEvent,
  execute: async <T>(fn: (context: { signal: AbortSignal }) => PromiseLike<T> | T): Promise<T> => fn({ signal: neverAborted }),
} as unknown as Policy;
const neverAborted = new AbortController().signal;

/** etcd answers "no leader" at once instead of letting the call run into its time limit. Source: etcd rpctypes MetadataRequireLeaderKey. */
function requireLeader(options: InterceptorOptions, nextCall: NextCall): InterceptingCall {
  return new InterceptingCall(nextCall(options), {
    start: (metadata, listener, next) => {
      metadata.set('hasleader', 'true');
      next(metadata, listener);
    },
  });
}

type Etcd3Header = { readonly cluster_id: string; readonly member_id: string; readonly revision: string; readonly raft_term: string };
type Etcd3WatchResponse = {
  readonly header: Etcd3Header | null;
  readonly watch_id: string;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  readonly fragment: boolean;
  readonly events: readonly { readonly type: string; readonly kv: IKeyValue | null; readonly prev_kv: IKeyValue | null }[];
};

/** An empty end that is on the wire means every key from here on; one that is left out means this key. */
function rangeEndOf(end: Uint8Array): { readonly range_end?: Buffer } {
  return end.length === 0 ? {} : { range_end: Buffer.from(end) };
}

function toHeader(header: Etcd3Header | null): etcd.ResponseHeader | undefined {
  if (header === null) return undefined;
  return { clusterId: BigInt(header.cluster_id), memberId: BigInt(header.member_id), revision: BigInt(header.revision), raftTerm: BigInt(header.raft_term) };
}

function toKeyValue(kv: IKeyValue): KeyValue {
  return {
    key: kv.key,
    value: kv.value,
    createRevision: BigInt(kv.create_revision),
    modRevision: BigInt(kv.mod_revision),
    version: BigInt(kv.version),
    lease: BigInt(kv.lease),
  };
}

function toWatchResponse(response: Etcd3WatchResponse): etcd.WatchResponse {
  return {
    header: toHeader(response.header),
    watchId: BigInt(response.watch_id),
    created: response.created,
    canceled: response.canceled,
    compactRevision: BigInt(response.compact_revision),
    cancelReason: response.cancel_reason,
    fragment: response.fragment,
    events: response.events.map((event) => ({
      type: event.type === 'Delete' ? EVENT_DELETE : EVENT_PUT,
      kv: event.kv === null ? undefined : toKeyValue(event.kv),
      prevKv: event.prev_kv === null ? undefined : toKeyValue(event.prev_kv),
    })),
  };
}

function toWatchRequest({ requestUnion: union }: etcd.WatchRequest): object {
  switch (union?.$case) {
    case 'createRequest':
      return {
        create_request: {
          key: union.value.key,
          ...rangeEndOf(union.value.rangeEnd),
          start_revision: String(union.value.startRevision),
          progress_notify: union.value.progressNotify,
          watch_id: String(union.value.watchId),
          fragment: union.value.fragment,
          prev_kv: union.value.prevKv,
          filters: union.value.filters.map(Number),
        },
      };
    case 'cancelRequest':
      return { cancel_request: { watch_id: String(union.value.watchId) } };
    default:
      return { progress_request: {} };
  }
}

/* The enums of etcd3's protos have the same numbers as etcd's. */
function toCompare(compare: etcd.Compare): ICompare {
  const union = compare.targetUnion;
  const base = { key: compare.key, ...rangeEndOf(compare.rangeEnd), result: compare.result as number, target: compare.target as number };
  switch (union?.$case) {
    case 'version':
      return { ...base, version: String(union.value) };
    case 'createRevision':
      return { ...base, create_revision: String(union.value) };
    case 'modRevision':
      return { ...base, mod_revision: String(union.value) };
    case 'lease':
      return { ...base, lease: String(union.value) };
    case 'value':
      return { ...base, value: union.value };
    default:
      return base;
  }
}

function toOp({ request }: RequestOp): IRequestOp {
  switch (request?.$case) {
    case 'requestPut':
      return { request_put: { key: request.value.key, value: request.value.value, lease: String(request.value.lease) } };
    case 'requestDeleteRange':
      return { request_delete_range: { key: request.value.key, ...rangeEndOf(request.value.rangeEnd) } };
    default:
      throw new TypeError(`a store transaction has no ${request?.$case ?? 'empty'} operations`);
  }
}
