// Builders of model values for tests.
import type { Endpoint, ServiceView } from './snapshot.ts';
import type { Service } from './resource/service.ts';

export function aService(over: Partial<Service> = {}): Service {
  return { kind: 'service', namespace: 'shop', name: 'payments', ports: [{ name: 'http', port: 8080, protocol: 'http' }], ...over };
}

export function anEndpoint(over: Partial<Endpoint> = {}): Endpoint {
  return {
    id: 'east/a.payments-1',
    cluster: 'east',
    trustDomain: 'east.acme.example',
    host: '127.0.0.1',
    ports: { http: 9000 },
    spiffeId: 'spiffe://east.acme.example/ns/shop/svc/payments',
    locality: 'eu/a',
    weight: 100,
    health: 'healthy',
    tier: 0,
    viaGateway: false,
    ...over,
  };
}

export function aServiceView(over: Partial<ServiceView> = {}): ServiceView {
  return {
    kind: 'service',
    namespace: 'shop',
    name: 'payments',
    ports: [{ name: 'http', port: 8080, protocol: 'http' }],
    endpoints: [anEndpoint()],
    exported: true,
    ...over,
  };
}
