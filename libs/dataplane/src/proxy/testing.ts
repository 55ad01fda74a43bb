// A small mesh for tests: real applications, inbound listeners and one outbound listener, on loopback with a throw-away CA.
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { compile, type Engine } from '@isthmus/decide';
import { type Endpoint, type Protocol, type SnapshotResource, resourceName, type ServiceName, type SpiffeId } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { type BundleSource, fixedSvidSource, openBundleSet, type SvidSource } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { type InboundListener, type InboundOptions, startInbound } from './inbound.ts';
import { type OutboundListener, type OutboundOptions, startOutbound } from './outbound.ts';

export const PAYMENTS: ServiceName = { namespace: 'shop', name: 'payments' };
export const PAYMENTS_ID = 'spiffe://east.acme.example/ns/shop/svc/payments' as SpiffeId;
export const WEB_ID = 'spiffe://east.acme.example/ns/shop/svc/web' as SpiffeId;

/** One CA for the whole file: making it is the slow part. */
export const east = testAuthority({ federation: 'acme.example', cluster: 'east' });

export function eastBundles(): BundleSource {
  return openBundleSet([east.bundle]);
}

export function svidOf(id: string): SvidSource {
  return fixedSvidSource(east.issue(id as SpiffeId));
}

const paymentsSvid = svidOf(PAYMENTS_ID);
const webSvid = svidOf(WEB_ID);

/** A plain application on loopback that can be cut off in the middle. */
export type App = { readonly port: number; readonly server: Server; readonly sockets: Set<Socket>; destroy(): Promise<void> };

export async function startApp(handler: RequestListener): Promise<App> {
  const server = createServer(handler);
  const sockets = new Set<Socket>();
  server.on('connection', (s) => {
    sockets.add(s);
    s.once('close', () => sockets.delete(s));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    server,
    sockets,
    destroy: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const s of sockets) s.destroy();
      }),
  };
}

export async function startTcpApp(onConnection: (socket: Socket) => void): Promise<{ readonly port: number; readonly server: TcpServer; destroy(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createTcpServer({ allowHalfOpen: true }, (s) => {
    sockets.add(s);
    s.on('error', () => undefined);
    s.once('close', () => sockets.delete(s));
    onConnection(s);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    server,
    destroy: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const s of sockets) s.destroy();
      }),
  };
}

export function inboundFor(port: number, over: Partial<InboundOptions> & { readonly protocol?: Protocol } = {}): Promise<InboundListener> {
  const { protocol = 'http', ...rest } = over;
  return startInbound({
    listen: { host: '127.0.0.1', port: 0 },
    workload: { service: PAYMENTS, instance: `p-${port}`, host: '127.0.0.1', port, protocol },
    svids: paymentsSvid,
    bundles: eastBundles(),
    log: silentLog(),
    metrics: openMetrics(),
    ...rest,
  });
}

export function endpointAt(port: number, over: Partial<Endpoint> = {}): Endpoint {
  return anEndpoint({ id: `east/agent.p-${port}`, host: '127.0.0.1', ports: { http: port }, spiffeId: PAYMENTS_ID, ...over });
}

/** An engine over these endpoints, replaceable while the proxy runs. */
export function engineOf(endpoints: readonly Endpoint[], protocol: Protocol = 'http'): Engine {
  const resources: SnapshotResource[] = [
    aServiceView({ ...PAYMENTS, ports: [{ name: 'http', port: 8080, protocol }], endpoints: [...endpoints] }),
    { kind: 'bundle', bundle: east.bundle },
  ];
  return compile({ version: 1, resources: new Map(resources.map((r) => [resourceName(r), r])) });
}

export function outboundFor(engine: () => Engine, over: Partial<OutboundOptions> = {}): Promise<OutboundListener> {
  return startOutbound({
    listen: { host: '127.0.0.1', port: 0 },
    service: PAYMENTS,
    port: 'http',
    protocol: 'http',
    engine,
    svids: webSvid,
    bundles: eastBundles(),
    log: silentLog(),
    metrics: openMetrics(),
    ...over,
  });
}
