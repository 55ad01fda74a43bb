// Dials one endpoint as a property of that endpoint: its address, SNI, trust domain and expected identity.
import { type Endpoint, type ServiceName, serviceSni, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { ClientConnection, HttpLimits } from '../http/exchange.ts';
import { openHttp1 } from '../http1/index.ts';
import { openHttp2 } from '../http2/index.ts';
import type { Peer } from '../tls/judge.ts';
import type { OpenPeers } from '../tls/open-peers.ts';
import type { ByteStream, DialledStream, Transport } from '../transport/transport.ts';

/** One port of one endpoint of one service: where a connection goes and who must answer. */
export type Destination = {
  readonly endpoint: string;
  readonly host: string;
  readonly port: number;
  readonly sni: string;
  readonly expectedId: SpiffeId;
  readonly trustDomain: TrustDomain;
};

export type DialOptions = {
  readonly transport: Transport;
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  readonly timeoutMs: number;
  /** Closes what is opened here once its other end would be refused. */
  readonly peers?: OpenPeers;
};

/** Where the named port of an endpoint is reached; undefined when the endpoint does not offer it. */
export function destinationOf(service: ServiceName, port: string, endpoint: Endpoint): Destination | undefined {
  const number = endpoint.ports[port];
  if (number === undefined) return undefined;
  const trustDomain = endpoint.trustDomain as TrustDomain;
  return {
    endpoint: endpoint.id,
    host: endpoint.host,
    port: number,
    // A gateway that ends TLS is asked for by the name that says so.
    sni: serviceSni(service, port, trustDomain, endpoint.spiffeId === spiffeIds.gateway(trustDomain) ? 7 : 4),
    expectedId: endpoint.spiffeId as SpiffeId,
    trustDomain,
  };
}

/** Everything a connection depends on, as one key: two destinations with the same key may share connections. */
export function destinationKey(d: Destination): string {
  return `${d.endpoint} ${d.host} ${d.port} ${d.sni} ${d.expectedId} ${d.trustDomain}`;
}

/** Opens a verified connection. **Throws** as connectMutualTls; nothing was sent then. */
export async function dial(d: Destination, { transport, svids, bundles, timeoutMs, peers }: DialOptions, over: { readonly alpn?: readonly string[]; readonly allowHalfOpen: boolean }): Promise<DialledStream> {
  const { host, port, sni, expectedId, trustDomain } = d;
  const proven: Peer[] = [];
  const onPeer = (peer: Peer): void => void proven.push(peer);
  const dialled = await transport.dialMutualTls({ host, port, sni, expectedId, trustDomain, svids, bundles, timeoutMs, onPeer, clock: transport.clock, ...over });
  for (const peer of proven) peers?.add(dialled.stream, peer);
  return dialled;
}

/**
 * Opens a verified HTTP connection, of this version where the endpoint speaks it too: one that does not gets HTTP/1.1,
 * whatever the caller spoke. **Throws** as `dial`.
 */
export async function dialHttp(d: Destination, version: '1.1' | '2', limits: HttpLimits, options: DialOptions): Promise<ClientConnection> {
  const { stream, alpn } = await dial(d, options, { alpn: version === '2' ? ['h2', 'http/1.1'] : ['http/1.1'], allowHalfOpen: false });
  return openConnection(stream, alpn === 'h2' ? '2' : '1.1', limits, options.transport);
}

/** How often a connection with requests under way is asked whether its other end is there (reliability 79). */
const PING_MS = 5_000;

/** Speaks HTTP as a client on a connected stream, and owns it. */
export function openConnection(stream: ByteStream, version: '1.1' | '2', limits: HttpLimits, { clock }: Transport): ClientConnection {
  return version === '2' ? openHttp2(stream, { limits, clock, pingMs: PING_MS }) : openHttp1(stream, { limits, clock });
}
