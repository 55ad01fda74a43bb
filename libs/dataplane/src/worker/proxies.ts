// The agent's listeners on whichever engine there is: a worker on the Linux loop, or this thread on Node's own sockets.
import { messageOf } from '@isthmus/model';
import type { EngineKind } from '../engine/engine.ts';
import { captureNeedsLinux } from '../proxy/captured.ts';
import { startGatewayHttp } from '../proxy/gateway-http.ts';
import { startInbound } from '../proxy/inbound.ts';
import { startOutbound } from '../proxy/outbound.ts';
import { portableTransport } from '../transport/portable.ts';
import { followSnapshots } from './follow.ts';
import { gatewayTrust, inboundTrust } from './inbound-trust.ts';
import type { HostedCapture, HostedListener, ProxyHostOptions } from './proxy-host.ts';
import { type CapturedSpec, type GatewayHttpSpec, type InboundSpec, type OutboundSpec, portOf, protocolOf } from './spec.ts';

export type ProxiesOptions = ProxyHostOptions & {
  /** `auto`: the Linux engine where it runs, else the portable one. */
  readonly engine: EngineKind | 'auto';
};

/** Where the agent opens its listeners. */
export interface Proxies {
  readonly engine: EngineKind;
  /** **Throws** DATAPLANE_LISTEN_FAILED. */
  inbound(spec: InboundSpec): Promise<HostedListener>;
  /** **Throws** DATAPLANE_LISTEN_FAILED. */
  outbound(spec: OutboundSpec): Promise<HostedListener>;
  /** What a packet filter redirects here. **Throws** DATAPLANE_LISTEN_FAILED, DATAPLANE_ENGINE_UNAVAILABLE on the portable engine. */
  captured(spec: CapturedSpec): Promise<HostedCapture>;
  /** What a gateway carries at layer 7. **Throws** DATAPLANE_LISTEN_FAILED. */
  gatewayHttp(spec: GatewayHttpSpec): Promise<HostedListener>;
  /** Ends what is still open, at once. */
  close(): Promise<void>;
}

/** Starts the engine and says in the log which. **Throws** DATAPLANE_ENGINE_UNAVAILABLE for one asked for by name. */
export async function startProxies(options: ProxiesOptions): Promise<Proxies> {
  const proxies = await chooseEngine(options);
  options.log.info('data path started', { engine: proxies.engine });
  return proxies;
}

async function chooseEngine(options: ProxiesOptions): Promise<Proxies> {
  if (options.engine === 'portable') return portableProxies(options);
  if (options.engine === 'auto' && process.platform !== 'linux') return portableProxies(options);
  try {
    const { openProxyHost } = await import('./proxy-host.ts');
    const host = await openProxyHost(options);
    return { engine: 'linux', inbound: (spec) => host.inbound(spec), outbound: (spec) => host.outbound(spec), captured: (spec) => host.captured(spec), gatewayHttp: (spec) => host.gatewayHttp(spec), close: () => host.close() };
  } catch (error) {
    if (options.engine === 'linux') throw error;
    options.log.warn('the Linux engine is not available; the portable one serves', { detail: messageOf(error) });
    return portableProxies(options);
  }
}

function portableProxies(options: ProxiesOptions): Proxies {
  const { snapshots, bundles, svids, clock, random, log, metrics } = options;
  const follower = followSnapshots(snapshots);
  const open = new Set<HostedListener>();
  const hosted = async (opening: Promise<HostedListener>): Promise<HostedListener> => {
    const listener = await opening;
    open.add(listener);
    return listener;
  };
  const parts = { transport: portableTransport(clock), clock, random, log, metrics };
  return {
    engine: 'portable',
    inbound: ({ listen, service, instance, application, port, svids: name }) =>
      hosted(startInbound({
        listen,
        workload: {
          service,
          instance,
          ...application,
          portName: port,
          get protocol() {
            return protocolOf(follower.engine(), service, port, undefined);
          },
        },
        svids: svids(name),
        ...inboundTrust(bundles, snapshots, service),
        onApplicationDown: (_workload, error) => options.onApplicationDown(service, instance, error),
        ...parts,
      })),
    outbound: ({ listen, service, port, protocol, svids: name }) =>
      hosted(startOutbound({
        listen,
        service,
        get port() {
          return portOf(follower.engine(), service, port);
        },
        get protocol() {
          return protocolOf(follower.engine(), service, this.port, protocol);
        },
        engine: () => follower.engine(),
        onEngine: (fn) => follower.onEngine(fn),
        svids: svids(name),
        bundles,
        ...parts,
      })),
    captured: async () => {
      throw captureNeedsLinux();
    },
    gatewayHttp: ({ listen, trustDomain, svids: name }) => hosted(startGatewayHttp({ listen, trustDomain, engine: () => follower.engine(), onEngine: (fn) => follower.onEngine(fn), svids: svids(name), bundles, callers: gatewayTrust(bundles, snapshots), ...parts })),
    close: async () => {
      follower.close();
      await Promise.all([...open].map((listener) => listener.close()));
    },
  };
}

