// etcd's API call by call, for tests that hold the embedded server to what a real etcd answers.
import { ChannelCredentials, type ClientDuplexStream, type ServiceError } from './grpc.ts';
import { etcd, putRequest, rangeRequest, watchCreateRequest } from './wire.ts';

type Unary<Q, R> = (request: Q, callback: (error: ServiceError | null, response: R) => void) => unknown;
const LIMIT_MS = 10_000;

/** A refusal as `code text`, so that a test compares both at once. */
export async function refusalOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    const { code, details } = error as ServiceError;
    return `${code} ${details}`;
  }
  return 'not refused';
}

export function openRaw(endpoint: string) {
  const address = endpoint.replace(/^https?:\/\//, '');
  const credentials = ChannelCredentials.createInsecure();
  const kv = new etcd.KVClient(address, credentials);
  const lease = new etcd.LeaseClient(address, credentials);
  const watch = new etcd.WatchClient(address, credentials);
  const maintenance = new etcd.MaintenanceClient(address, credentials);
  const auth = new etcd.AuthClient(address, credentials);
  const call = <Q, R>(method: Unary<Q, R>, request: Q): Promise<R> =>
    new Promise((resolve, reject) => method(request, (error, response) => (error === null ? resolve(response) : reject(error))));
  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
  return {
    range: (key: string, over: Partial<etcd.RangeRequest> & { readonly end?: string } = {}) => {
      const { end, ...rest } = over;
      return call<etcd.RangeRequest, etcd.RangeResponse>(kv.range.bind(kv), rangeRequest({ key: bytes(key), rangeEnd: bytes(end ?? ''), ...rest }));
    },
    put: (key: string, value: string, over: Partial<etcd.PutRequest> = {}) =>
      call<etcd.PutRequest, etcd.PutResponse>(kv.put.bind(kv), putRequest({ key: bytes(key), value: bytes(value), ...over })),
    del: (key: string, end = '', prevKv = false) =>
      call<etcd.DeleteRangeRequest, etcd.DeleteRangeResponse>(kv.deleteRange.bind(kv), { key: bytes(key), rangeEnd: bytes(end), prevKv }),
    txn: (request: Partial<etcd.TxnRequest>) =>
      call<etcd.TxnRequest, etcd.TxnResponse>(kv.txn.bind(kv), { compare: [], success: [], failure: [], ...request }),
    compact: (revision: bigint) => call<etcd.CompactionRequest, etcd.CompactionResponse>(kv.compact.bind(kv), { revision, physical: true }),
    grant: (TTL: bigint, ID = 0n) => call<etcd.LeaseGrantRequest, etcd.LeaseGrantResponse>(lease.leaseGrant.bind(lease), { TTL, ID }),
    revoke: (ID: bigint) => call<etcd.LeaseRevokeRequest, etcd.LeaseRevokeResponse>(lease.leaseRevoke.bind(lease), { ID }),
    timeToLive: (ID: bigint) => call<etcd.LeaseTimeToLiveRequest, etcd.LeaseTimeToLiveResponse>(lease.leaseTimeToLive.bind(lease), { ID, keys: true }),
    leases: () => call<etcd.LeaseLeasesRequest, etcd.LeaseLeasesResponse>(lease.leaseLeases.bind(lease), {}),
    keepAlive: (ID: bigint) =>
      new Promise<etcd.LeaseKeepAliveResponse>((resolve, reject) => {
        const stream = lease.leaseKeepAlive();
        stream.on('error', reject);
        stream.on('data', (response: etcd.LeaseKeepAliveResponse) => {
          resolve(response);
          stream.end();
        });
        stream.write({ ID });
      }),
    status: () => call<etcd.StatusRequest, etcd.StatusResponse>(maintenance.status.bind(maintenance), {}),
    authenticate: () => call<etcd.AuthenticateRequest, etcd.AuthenticateResponse>(auth.authenticate.bind(auth), { name: 'root', password: 'x' }),
    watch: () => new RawWatch(watch.watch()),
    close: () => {
      for (const client of [kv, lease, watch, maintenance, auth]) client.close();
    },
  };
}
export type RawClient = ReturnType<typeof openRaw>;

/** One watch stream, with everything it said. */
export class RawWatch {
  readonly responses: etcd.WatchResponse[] = [];
  readonly #stream: ClientDuplexStream<etcd.WatchRequest, etcd.WatchResponse>;
  #wake: () => void = () => undefined;

  constructor(stream: ClientDuplexStream<etcd.WatchRequest, etcd.WatchResponse>) {
    this.#stream = stream;
    stream.on('error', () => this.#wake());
    stream.on('data', (response: etcd.WatchResponse) => {
      this.responses.push(response);
      this.#wake();
    });
  }

  create(key: string, over: Partial<etcd.WatchCreateRequest> & { readonly end?: string } = {}): void {
    const { end, ...rest } = over;
    const value = watchCreateRequest({ key: Buffer.from(key, 'latin1'), rangeEnd: Buffer.from(end ?? '', 'latin1'), ...rest });
    this.#stream.write({ requestUnion: { $case: 'createRequest', value } });
  }

  cancel(watchId: bigint): void {
    this.#stream.write({ requestUnion: { $case: 'cancelRequest', value: { watchId } } });
  }

  progress(): void {
    this.#stream.write({ requestUnion: { $case: 'progressRequest', value: {} } });
  }

  /** The events so far as `P key value@mod` and `D key@mod`. */
  events(watchId?: bigint): string[] {
    return this.responses
      .filter((response) => watchId === undefined || response.watchId === watchId)
      .flatMap((response) => response.events)
      .map(({ type, kv }) => (type === 0 ? `P ${kv?.key.toString('latin1')} ${kv?.value.toString('latin1')}@${kv?.modRevision}` : `D ${kv?.key.toString('latin1')}@${kv?.modRevision}`));
  }

  /** Resolves once the condition holds; fails after ten seconds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const end = performance.now() + LIMIT_MS;
    while (!holds()) {
      const leftMs = end - performance.now();
      if (leftMs <= 0) throw new Error(`${what} did not come: ${this.events().join(', ')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#stream.cancel();
  }
}
