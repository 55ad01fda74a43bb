// The east-west gateway: one open port that reads the server name and relays bytes, on the engine that can run here.
import { cpus } from 'node:os';
import { IsthmusError, messageOf, type ReservedName, type TrustDomain } from '@isthmus/model';
import { type Clock, connectionsWithin, descriptorLimit, type Random, systemClock, systemRandom } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { type EngineKind, type ProxyProtocolOptions, type Relay, RELAY_LIMITS, type RelayLimits, type RelayOptions, type SnapshotSource } from '../engine/engine.ts';
import { engines } from '../engine/engines.ts';
import { isCidr } from '../engine/ip-address.ts';
import { fail } from '../errors.ts';
import type { ListenAddress } from './listen.ts';

export type EastWestOptions = {
  readonly listen: ListenAddress;
  readonly snapshots: SnapshotSource;
  readonly trustDomain: TrustDomain;
  /** `host:port` behind each reserved name; a name without one is refused. */
  readonly reserved: Readonly<Partial<Record<ReservedName, string>>>;
  /** `host:port` where this process ends TLS for services that ask for layer 7; without it they are refused. */
  readonly layer7?: string;
  readonly limits?: Partial<RelayLimits>;
  readonly proxyProtocol?: Partial<ProxyProtocolOptions>;
  /** `auto` (as without it): the linux engine where it can run, else the portable one. */
  readonly engine?: EngineKind | 'auto';
  /** Threads of the linux engine; without it one per processor, at most 8. */
  readonly workers?: number;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** A running gateway. `workers` is 0 where all is done on the main thread. */
export type EastWest = Relay & { readonly workers: number };

const MAX_DEFAULT_WORKERS = 8;

/**
 * Opens the gateway's port; which engine it runs on is in the log. **Throws** DATAPLANE_LISTEN_FAILED;
 * DATAPLANE_ENGINE_UNAVAILABLE when an engine was asked for by name and cannot run here; DATAPLANE_BAD_RANGE.
 */
export async function startEastWest(options: EastWestOptions): Promise<EastWest> {
  const { engine = 'auto', workers = Math.min(cpus().length, MAX_DEFAULT_WORKERS), log } = options;
  for (const range of options.proxyProtocol?.acceptFrom ?? []) {
    if (!isCidr(range)) throw fail('DATAPLANE_BAD_RANGE', `proxyProtocol.acceptFrom: ${range} is not a range`, { hint: 'write address/bits, such as 10.0.7.0/24 or 2001:db8::/32' });
  }
  const relayOptions: RelayOptions = {
    settings: {
      listen: options.listen,
      trustDomain: options.trustDomain,
      reserved: options.reserved,
      layer7: options.layer7,
      limits: withinDescriptors({ ...RELAY_LIMITS, ...options.limits }, log),
      proxyProtocol: { acceptFrom: [], send: false, ...options.proxyProtocol },
      workers,
    },
    snapshots: options.snapshots,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    log,
    metrics: options.metrics,
  };
  const relay = engine === 'auto' ? await startAny(relayOptions) : await start(engine, relayOptions);
  const threads = relay.engine === 'linux' ? workers : 0;
  log.info('gateway relays', { engine: relay.engine, workers: threads, host: relay.host, port: relay.port });
  return {
    engine: relay.engine,
    workers: threads,
    host: relay.host,
    port: relay.port,
    get connections() {
      return relay.connections;
    },
    get serviceConnections() {
      return relay.serviceConnections;
    },
    close: (closing) => relay.close(closing),
  };
}

/** As many connections as the process may have descriptors for: beyond them nothing could be accepted, not even an operator (row 59). */
function withinDescriptors(limits: RelayLimits, log: Log): RelayLimits {
  const limit = descriptorLimit();
  const connections = connectionsWithin(limits.connections, limit);
  if (connections === limits.connections) return limits;
  log.warn('fewer connections than configured: the limit of open files is low', { connections, configured: limits.connections, descriptors: limit });
  return { ...limits, connections, hellos: Math.min(limits.hellos, connections) };
}

async function start(engine: EngineKind, options: RelayOptions): Promise<Relay> {
  const startRelay = await engines[engine]();
  return startRelay(options);
}

async function startAny(options: RelayOptions): Promise<Relay> {
  try {
    return await start('linux', options);
  } catch (error) {
    if (!(error instanceof IsthmusError && error.code === 'DATAPLANE_ENGINE_UNAVAILABLE')) throw error;
    options.log.info('the linux engine cannot run here, the portable one does', { why: messageOf(error) });
    return start('portable', options);
  }
}
