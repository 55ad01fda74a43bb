// Dials one endpoint as a property of that endpoint: its address, SNI, trust domain and expected identity.
import type { TLSSocket } from 'node:tls';
import { type Endpoint, type ServiceName, serviceSni, type SpiffeId, type TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { connectMutualTls } from '../tls/mutual-tls.ts';

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
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly allowHalfOpen?: boolean;
  readonly signal?: AbortSignal;
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
    sni: serviceSni(service, port, trustDomain),
    expectedId: endpoint.spiffeId as SpiffeId,
    trustDomain,
  };
}

/** Everything a connection depends on, as one key: two destinations with the same key may share connections. */
export function destinationKey(d: Destination): string {
  return `${d.endpoint} ${d.host} ${d.port} ${d.sni} ${d.expectedId} ${d.trustDomain}`;
}

/** Opens a verified connection. **Throws** as connectMutualTls; nothing was sent then. */
export function dial(d: Destination, options: DialOptions): Promise<TLSSocket> {
  return connectMutualTls({ ...options, host: d.host, port: d.port, sni: d.sni, expectedId: d.expectedId, trustDomain: d.trustDomain });
}
