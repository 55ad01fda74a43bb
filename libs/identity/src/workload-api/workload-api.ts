// The SPIFFE Workload API of an agent on a Unix socket: each process gets the identities of the workloads it is.
import type { ServiceName, TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import { type RpcServer, type ServerWritableStream, startRpcServer, toServiceError, workloadApi } from '@isthmus/rpc';
import { type Clock, openPeerCredentials } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { x509BundlesResponse, x509SvidResponse } from './answers.ts';
import { openDoor, type OpenCall, type Visit } from './door.ts';
import { push, type Subject } from './push.ts';
import type { ServedWorkload } from './selectors.ts';

export type { ServedWorkload } from './selectors.ts';

export type WorkloadApiOptions = {
  /** At most 107 bytes. */
  readonly socketPath: string;
  /** Permissions of the socket. Default 0666: who may have what is decided by peer credentials. */
  readonly mode?: number;
  /** Where identities come from: the agent's own, joined. */
  readonly identity: { readonly trustDomain: TrustDomain; readonly bundles: BundleSource; workloadSvids(service: ServiceName): SvidSource };
  readonly workloads: readonly ServedWorkload[];
  /** Calls one user may have open at once. Default 256. */
  readonly callsPerUser?: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface WorkloadApi {
  readonly socketPath: string;
  /** The calls that are open now; streams, but for a moment. */
  open(): readonly OpenCall[];
  close(): Promise<void>;
}

/** **Throws** PEER_CREDENTIALS where the system tells no peers, RPC_SOCKET_PATH, RPC_SOCKET_BUSY, RPC_LISTEN_FAILED. */
export async function startWorkloadApi(options: WorkloadApiOptions): Promise<WorkloadApi> {
  const { socketPath, log, metrics } = options;
  const peerOf = await openPeerCredentials();
  const api = new Api(options);
  const server: RpcServer = await startRpcServer({
    listen: { unixPath: socketPath, mode: options.mode ?? 0o666 },
    peerOf,
    services: [{ definition: workloadApi.SpiffeWorkloadAPIService, implementation: api.implementation() }],
    log,
    metrics,
  });
  return {
    socketPath,
    open: () => api.door.open(),
    async close() {
      api.end();
      await server.close(500);
    },
  };
}

class Api {
  readonly door;
  private readonly options: WorkloadApiOptions;
  private readonly streams = new Set<{ end?: () => void }>();
  private readonly answers;

  constructor(options: WorkloadApiOptions) {
    this.options = options;
    this.door = openDoor({ ...options, callsPerUser: options.callsPerUser ?? 256 });
    this.answers = options.metrics.counter('isthmus_workload_api_answers_total', 'Answers sent on streams of the Workload API', ['method']);
  }

  implementation(): workloadApi.SpiffeWorkloadAPIServer {
    return {
      fetchX509Svid: (call) => this.stream(call, 'FetchX509SVID', (visit) => this.x509Svids(visit)),
      fetchX509Bundles: (call) => this.stream(call, 'FetchX509Bundles', () => this.x509Bundles()),
      fetchJwtsvid: (_call, done) => done({ code: 12, details: 'not yet' }),
      fetchJwtBundles: (call) => call.emit('error', { code: 12, details: 'not yet' }),
      validateJwtsvid: (_call, done) => done({ code: 12, details: 'not yet' }),
    };
  }

  end(): void {
    for (const stream of this.streams) stream.end?.();
  }

  private stream<Req, T>(call: ServerWritableStream<Req, T>, method: string, subjectOf: (visit: Visit) => Subject<T>): void {
    let visit: Visit | undefined;
    try {
      visit = this.door.enter(call, method, { needsHeader: true });
      const { leave } = visit;
      const entry: { end?: () => void } = {};
      const onEnd = (): void => {
        leave();
        this.streams.delete(entry);
      };
      this.streams.add(entry);
      entry.end = push(call, subjectOf(visit), { clock: this.options.clock, onSent: () => this.answers.inc({ method }), onEnd }).end;
    } catch (error) {
      visit?.leave();
      call.emit('error', toServiceError(error));
    }
  }

  private x509Svids({ services }: Visit): Subject<workloadApi.X509SVIDResponse> {
    const { identity, clock } = this.options;
    const sources = services.map((service) => identity.workloadSvids(service));
    return {
      follow: [...sources, identity.bundles],
      encode: (answer) => workloadApi.X509SVIDResponse.encode(answer).finish(),
      make: () => {
        const svids = sources.flatMap((source) => source.current() ?? []).filter((svid) => svid.expiresAtMs > clock.nowMs());
        if (svids.length === 0) return undefined;
        return { answer: x509SvidResponse(svids, identity.trustDomain, identity.bundles.all()), isWhole: svids.length === sources.length };
      },
    };
  }

  private x509Bundles(): Subject<workloadApi.X509BundlesResponse> {
    const { bundles } = this.options.identity;
    return {
      follow: [bundles],
      encode: (answer) => workloadApi.X509BundlesResponse.encode(answer).finish(),
      make: () => ({ answer: x509BundlesResponse(bundles.all()), isWhole: true }),
    };
  }
}

