// The seam between the gateway and what moves its bytes: two engines with one face, chosen at start and named in the log.
import type { ReservedName, Snapshot, TrustDomain } from '@isthmus/model';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { ListenAddress } from '../proxy/listen.ts';
import type { HelloRefusal } from '../tls/client-hello.ts';

/** `linux`: worker threads on epoll and splice through FFI. `portable`: node:net on the main thread. */
export type EngineKind = 'linux' | 'portable';

/** Limits of one listener, over all its workers together. */
export type RelayLimits = {
  /** From accept to a whole ClientHello (reliability 52). */
  readonly helloMs: number;
  readonly connectMs: number;
  /** Neither direction moved a byte for so long. */
  readonly idleMs: number;
  readonly connections: number;
  /** Connections to one endpoint. */
  readonly endpointConnections: number;
  /** Connections that have not sent a whole ClientHello yet (slowloris). */
  readonly hellos: number;
  /** Endpoints tried before the caller is told; nothing has been sent to any of them yet. */
  readonly attempts: number;
  /** How long connections to an endpoint that left the snapshot may go on. */
  readonly departedMs: number;
};

export const RELAY_LIMITS: RelayLimits = {
  helloMs: 5_000,
  connectMs: 2_000,
  idleMs: 3_600_000,
  connections: 16_384,
  endpointConnections: 8_192,
  hellos: 4_096,
  attempts: 4,
  departedMs: 60_000,
};

/** PROXY protocol v2, both ways. */
export type ProxyProtocolOptions = {
  /** CIDR ranges of peers that may (and then must) begin with a PROXY v2 header; nobody else may (row 53). */
  readonly acceptFrom: readonly string[];
  /** Whether a v2 header with the caller's address is sent to endpoints of this gateway's services. */
  readonly send: boolean;
};

/** All that a worker thread needs to know at its start: plain data that can be copied to it. */
export type RelaySettings = {
  readonly listen: ListenAddress;
  readonly trustDomain: TrustDomain;
  /** `host:port` behind each reserved name; a name without one is refused. */
  readonly reserved: Readonly<Partial<Record<ReservedName, string>>>;
  /** `host:port` where this process ends TLS for services that ask for layer 7; without it they are refused. */
  readonly layer7: string | undefined;
  readonly limits: RelayLimits;
  readonly proxyProtocol: ProxyProtocolOptions;
  /** Worker threads, each with its own listening socket on the same port (linux only). */
  readonly workers: number;
};

/** Where the snapshot in force comes from. */
export interface SnapshotSource {
  current(): Snapshot;
  /** Called after each change with the keys of the resources that changed. Returns what ends it. */
  onChange(fn: (snapshot: Snapshot, changed: readonly string[]) => void): () => void;
}

export type RelayOptions = {
  readonly settings: RelaySettings;
  readonly snapshots: SnapshotSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Why a connection was refused before anything was dialled: the label of `isthmus_gateway_refused_total`. */
export type RelayRefusal =
  | 'unknown-name' | 'not-ours' | 'not-exported' | 'no-endpoint'
  | HelloRefusal | 'no-hello' | 'hello-timeout'
  | 'too-many-hellos' | 'too-many-connections' | 'proxy-protocol';

/** How a relayed connection ended: the label of `isthmus_gateway_connections_total`. */
export type RelayEnd = 'complete' | 'reset' | 'idle' | 'unreachable' | 'overloaded' | 'drained';

/** A listener that relays, whichever engine it runs on. */
export interface Relay {
  readonly engine: EngineKind;
  readonly host: string;
  readonly port: number;
  /** Connections open now, over all workers. At most a second old. */
  readonly connections: number;
  /** Those of them that callers have: what leads to a reserved name is the control planes' own, and comes back by another gateway. At most a second old. */
  readonly serviceConnections: number;
  /** Stops accepting, lets connections end for so long, then resets what is left. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/** Starts an engine's relay. **Throws** DATAPLANE_LISTEN_FAILED; DATAPLANE_ENGINE_UNAVAILABLE where the system or its rules do not allow it. */
export type StartRelay = (options: RelayOptions) => Promise<Relay>;
