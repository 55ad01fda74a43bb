// What a listener of the agent is, as plain data: enough to open it on this thread or on another.
import type { Engine } from '@isthmus/decide';
import type { Protocol, ServiceName, TrustDomain } from '@isthmus/model';
import type { ServiceAddresses } from '../proxy/captured.ts';
import type { ListenAddress } from '../proxy/listen.ts';

/** Whose SVID: `namespace/name` of a service, or the proxy's own for an empty string. */
export type SvidName = string;

/** One workload port: mutual TLS in, plain to the application. */
export type InboundSpec = {
  readonly listen: ListenAddress;
  readonly service: ServiceName;
  readonly instance: string;
  /** Name of the service port. */
  readonly port: string;
  readonly application: { readonly host: string; readonly port: number };
  readonly svids: SvidName;
};

/** One service port to call: plain in, mutual TLS out. */
export type OutboundSpec = {
  readonly listen: ListenAddress;
  readonly service: ServiceName;
  /** Name of the service port; without it the first one. */
  readonly port: string | undefined;
  /** For as long as the service is not known. */
  readonly protocol: Protocol | undefined;
  readonly svids: SvidName;
};

/** Calls redirected here by a packet filter: plain in, mutual TLS out to whichever service has the address. */
export type CapturedSpec = {
  readonly listen: ListenAddress;
  /** Virtual addresses of services. */
  readonly addresses: ServiceAddresses;
  readonly svids: SvidName;
};

/** A gateway's layer 7: mutual TLS in, mutual TLS out, for every service of this trust domain that asks for it. */
export type GatewayHttpSpec = {
  readonly listen: ListenAddress;
  readonly trustDomain: TrustDomain;
  readonly svids: SvidName;
};

/** The protocol of a service port: what the service says, and until it is declared what the configuration or the port's name does. */
export function protocolOf(engine: Engine, service: ServiceName, port: string, otherwise: Protocol | undefined): Protocol {
  const declared = engine.service(service)?.view.ports.find((p) => p.name === port)?.protocol;
  return declared ?? otherwise ?? protocolByName(port);
}

/** What a port is called says what it speaks, as in Kubernetes and Istio: `grpc`, `http2-admin`. */
function protocolByName(port: string): Protocol {
  const [word] = port.split('-');
  return word === 'http2' || word === 'grpc' ? word : port.startsWith('tcp') ? 'tcp' : 'http';
}

/** The port that is called when none is named. */
export function portOf(engine: Engine, service: ServiceName, port: string | undefined): string {
  return port ?? engine.service(service)?.view.ports[0]?.name ?? 'http';
}
