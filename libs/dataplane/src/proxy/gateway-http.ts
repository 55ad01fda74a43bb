// Layer 7 at a gateway: TLS of callers from other clusters ends here, and each request goes on to an endpoint of its own choosing.
import type { Engine, Route } from '@isthmus/decide';
import { formatServiceName, IsthmusError, messageOf, parseSni, type ServiceName, type TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Counter, Log, Metrics } from '@isthmus/telemetry';
import { UNPROCESSED_HEADER } from '../http/headers.ts';
import type { OutboundHooks } from '../http/hooks.ts';
import { isMisdirected } from '../http/misdirected.ts';
import { OpenPeers } from '../tls/open-peers.ts';
import { portableTransport } from '../transport/portable.ts';
import type { ByteStream, SecureStream, Transport } from '../transport/transport.ts';
import type { GatewayTrust } from '../worker/inbound-trust.ts';
import type { ListenAddress } from './listen.ts';
import { Outbound, type OutboundLimits } from './outbound.ts';

export type GatewayHttpOptions = {
  readonly listen: ListenAddress;
  /** The gateway's own; only services of it are carried. */
  readonly trustDomain: TrustDomain;
  readonly engine: () => Engine;
  readonly onEngine?: (fn: () => void) => () => void;
  /** The gateway's own SVID: shown to callers, and to the endpoints it calls for them. */
  readonly svids: SvidSource;
  /** By these the endpoints prove themselves; and callers, where `callers` says nothing else. */
  readonly bundles: BundleSource;
  /** Whom callers are verified by, and who of them may call which service; asked at each connection and each request. */
  readonly callers?: GatewayTrust;
  readonly limits?: Partial<OutboundLimits>;
  readonly transport?: Transport;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface GatewayHttpListener {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Stops accepting, lets requests finish for so long, then cuts what is left. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

const HANDSHAKE_MS = 5_000;
const CONNECTIONS = 16_384;
/** The caller's own proxy tries again too: together they stay within bounds. And its time limit is the one to count. */
const LIMITS: Partial<OutboundLimits> = { attempts: 3, requestMs: 90_000 };

/**
 * Opens the listener that the SNI router sends layer-7 services to. The server name of the connection, written as the
 * router requires it, says which service its requests are for. **Throws** DATAPLANE_LISTEN_FAILED.
 */
export async function startGatewayHttp(options: GatewayHttpOptions): Promise<GatewayHttpListener> {
  const gateway = new GatewayHttp(options);
  const listener = await gateway.transport.listenMutualTls(
    {
      listen: options.listen,
      label: 'layer-7 listener of the gateway',
      allowHalfOpen: true,
      connections: CONNECTIONS,
      onExhausted: () => options.log.error('no descriptor left: accepting rests', { connections: listener.open.size }),
      svids: options.svids,
      bundles: options.callers?.bundles ?? options.bundles,
      timeoutMs: HANDSHAKE_MS,
      alpn: ['h2', 'http/1.1'],
    },
    (secure) => gateway.serve(secure),
    (error, remoteAddress) => gateway.refuse(error, remoteAddress),
  );
  const close = async (drainMs: number): Promise<void> => {
    listener.close();
    await gateway.close(listener.open, drainMs);
  };
  let closing: Promise<void> | undefined;
  return {
    host: listener.host,
    port: listener.port,
    get connections() {
      return listener.open.size;
    },
    close: ({ drainMs = 0 } = {}) => (closing ??= close(drainMs)),
  };
}

class GatewayHttp {
  readonly transport: Transport;
  readonly #options: GatewayHttpOptions;
  readonly #refused: Counter;
  readonly #peers: OpenPeers;
  /** By server name. **Bounds** the exported ports of this cluster: names of no service get none. */
  readonly #services = new Map<string, Outbound>();

  constructor(options: GatewayHttpOptions) {
    this.#options = options;
    this.transport = options.transport ?? portableTransport(options.clock);
    this.#refused = options.metrics.counter('isthmus_gateway_layer7_refused_total', 'Connections refused where the gateway ends TLS', ['reason']);
    this.#peers = new OpenPeers({
      bundles: options.callers?.bundles ?? options.bundles,
      clock: this.transport.clock,
      close: this.transport.reset,
      onClosed: (peer, reason, connections) => {
        this.#refused.inc({ reason }, connections);
        options.log.warn('connections closed: their caller is trusted no longer', { spiffeId: peer.spiffeId, reason, connections });
      },
    });
  }

  refuse(error: unknown, remoteAddress: string | undefined): void {
    const reason = error instanceof IsthmusError && typeof error.facts['reason'] === 'string' ? error.facts['reason'] : 'handshake';
    this.#refused.inc({ reason });
    this.#options.log.warn('caller refused', { reason, detail: messageOf(error), remote: remoteAddress });
  }

  serve({ stream, peer, alpn, serverName }: SecureStream): void {
    const name = serverName ?? '';
    const route = this.#options.engine().route(name, this.#options.trustDomain);
    if (route.kind !== 'endpoints' || route.layer !== 7) {
      this.#refused.inc({ reason: route.kind === 'refuse' ? route.reason : 'not-layer-7' });
      return this.transport.reset(stream);
    }
    if (this.#options.callers?.authorize(peer, route.service) === false) {
      this.#refused.inc({ reason: 'denied' });
      this.#options.log.warn('caller denied', { spiffeId: peer.spiffeId, serverName: name });
      return this.transport.reset(stream);
    }
    this.#peers.add(stream, peer);
    this.#outboundOf(name, route.service, route.port).servePeer(stream, alpn === undefined ? undefined : alpn === 'h2' ? '2' : '1.1', peer);
  }

  #outboundOf(name: string, service: ServiceName, port: string): Outbound {
    let outbound = this.#services.get(name);
    if (outbound === undefined) {
      const { engine, onEngine, svids, bundles, random, log, metrics, limits } = this.#options;
      outbound = new Outbound({
        service,
        port,
        protocol: 'http',
        engine,
        ...(onEngine !== undefined && { onEngine }),
        svids,
        bundles,
        isForPeers: true,
        hooks: this.#hooksOf(name, service, port),
        limits: { ...LIMITS, ...limits },
        transport: this.transport,
        ...(random !== undefined && { random }),
        log,
        metrics,
      });
      this.#services.set(name, outbound);
    }
    return outbound;
  }

  /** A connection may outlive what it was opened for: asked with each request. */
  #hooksOf(name: string, service: ServiceName, port: string): OutboundHooks {
    const isOwnName = (other: string): boolean => {
      const target = parseSni(other);
      return target?.kind === 'service' && target.service.name === service.name && target.service.namespace === service.namespace && target.port === port;
    };
    let goodAuthority: string | undefined;
    let known: { readonly engine: Engine; readonly isGone: boolean } | undefined;
    return {
      limit: ({ authority }, peer) => {
        // An engine is compiled from one snapshot and never changes: what a name stands for is asked once for each.
        const engine = this.#options.engine();
        if (known?.engine !== engine) known = { engine, isGone: isGone(engine.route(name, this.#options.trustDomain)) };
        if (known.isGone) return { status: 404, reason: 'NR', text: `${formatServiceName(service)} is not offered here`, extra: [UNPROCESSED_HEADER, '1'] };
        if (peer !== undefined && this.#options.callers?.authorize(peer, service) === false) return { status: 403, text: `${peer.spiffeId} may not call ${formatServiceName(service)}` };
        if (authority === goodAuthority) return undefined;
        if (isMisdirected(authority, service, isOwnName)) return { status: 421, text: `this is ${formatServiceName(service)}` };
        goodAuthority = authority;
        return undefined;
      },
    };
  }

  async close(open: ReadonlySet<ByteStream>, drainMs: number): Promise<void> {
    await Promise.all([...this.#services.values()].map((outbound) => outbound.close(open, drainMs)));
    for (const stream of [...open]) stream.destroy();
    this.#peers.close();
  }
}

/** Whether a name stands for nothing that is answered here any more; no healthy endpoint alone is not that. */
function isGone(route: Route): boolean {
  return route.kind === 'refuse' ? route.reason !== 'no-endpoint' : route.kind !== 'endpoints' || route.layer !== 7;
}
