// The SPIFFE Workload API of an agent on a Unix socket, with Envoy's SDS beside it: each process gets the identities of the workloads it is.
import { handleUnary, type handleUnaryCall, type RpcServer, type ServerWritableStream, startRpcServer, toServiceError, workloadApi } from '@isthmus/rpc';
import { type Clock, openPeerCredentials } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { x509BundlesResponse, x509SvidResponse } from './answers.ts';
import { openDoor, type OpenCall, type Visit } from './door.ts';
import { fetchJwtSvids, jwtBundles, validateJwtSvid } from './jwt.ts';
import { push, type Subject } from './push.ts';
import { serveSds } from './sds.ts';
import type { ServedWorkload } from './selectors.ts';
import { type IdentitySource, Served } from './served.ts';

export type { IdentitySource } from './served.ts';
export type { ServedWorkload } from './selectors.ts';

export type WorkloadApiOptions = {
  /** At most 107 bytes. */
  readonly socketPath: string;
  /** Permissions of the socket. Default 0666: who may have what is decided by peer credentials. */
  readonly mode?: number;
  readonly identity: IdentitySource;
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

const CALLS_PER_USER = 256;

/** **Throws** PEER_CREDENTIALS where the system tells no peers, RPC_SOCKET_PATH, RPC_SOCKET_BUSY, RPC_LISTEN_FAILED. */
export async function startWorkloadApi(options: WorkloadApiOptions): Promise<WorkloadApi> {
  const { socketPath, log, metrics } = options;
  const peerOf = await openPeerCredentials();
  const door = openDoor({ ...options, callsPerUser: options.callsPerUser ?? CALLS_PER_USER });
  const served = new Served({ ...options, door });
  const api = new Api(served);
  const server: RpcServer = await startRpcServer({
    listen: { unixPath: socketPath, mode: options.mode ?? 0o666 },
    peerOf,
    services: [{ definition: workloadApi.SpiffeWorkloadAPIService, implementation: api.implementation() }, serveSds(served)],
    log,
    metrics,
  });
  return {
    socketPath,
    open: () => door.open(),
    async close() {
      served.end();
      await server.close(500);
    },
  };
}

class Api {
  private readonly served: Served;
  private readonly answers;

  constructor(served: Served) {
    this.served = served;
    this.answers = served.metrics.counter('isthmus_workload_api_answers_total', 'Answers sent on streams of the Workload API', ['method']);
  }

  implementation(): workloadApi.SpiffeWorkloadAPIServer {
    return {
      fetchX509Svid: (call) => this.stream(call, 'FetchX509SVID', (visit) => this.x509Svids(visit)),
      fetchX509Bundles: (call) => this.stream(call, 'FetchX509Bundles', () => this.x509Bundles()),
      fetchJwtBundles: (call) => this.stream(call, 'FetchJWTBundles', () => jwtBundles(this.served)),
      fetchJwtsvid: this.unary('FetchJWTSVID', (request, visit) => fetchJwtSvids(this.served, visit, request)),
      validateJwtsvid: this.unary('ValidateJWTSVID', (request) => validateJwtSvid(this.served, request)),
    };
  }

  private unary<Req, Res>(method: string, answer: (request: Req, visit: Visit) => Promise<Res>): handleUnaryCall<Req, Res> {
    const { door, log } = this.served;
    return handleUnary(async (request: Req, call) => {
      const visit = door.enter(call, method, { needsHeader: true });
      try {
        return await answer(request, visit);
      } finally {
        visit.leave();
      }
    }, log);
  }

  private stream<Req, T>(call: ServerWritableStream<Req, T>, method: string, subjectOf: (visit: Visit) => Subject<T>): void {
    const { served } = this;
    try {
      const visit = served.door.enter(call, method, { needsHeader: true });
      served.track(visit, (onEnd) => push(call, subjectOf(visit), { clock: served.clock, onSent: () => this.answers.inc({ method }), onEnd }));
    } catch (error) {
      call.emit('error', toServiceError(error));
    }
  }

  private x509Svids(visit: Visit): Subject<workloadApi.X509SVIDResponse> {
    const { served } = this;
    const { trustDomain, bundles } = served.identity;
    const sources = served.sourcesOf(visit);
    return {
      follow: [...sources, bundles],
      encode: (answer) => workloadApi.X509SVIDResponse.encode(answer).finish(),
      make: () => {
        const svids = served.currentOf(sources);
        return svids.length === 0 ? undefined : { answer: x509SvidResponse(svids, trustDomain, bundles.all()), isWhole: svids.length === sources.length };
      },
    };
  }

  private x509Bundles(): Subject<workloadApi.X509BundlesResponse> {
    const { bundles } = this.served.identity;
    return {
      follow: [bundles],
      encode: (answer) => workloadApi.X509BundlesResponse.encode(answer).finish(),
      make: () => ({ answer: x509BundlesResponse(bundles.all()), isWhole: true }),
    };
  }
}
