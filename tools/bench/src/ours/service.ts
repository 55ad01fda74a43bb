// The one service that every workload calls, as a snapshot of our own.
import { resourceName, type Snapshot, type SnapshotResource } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';

export const TRUST_DOMAIN = 'east.acme.example';
export const SERVICE = { namespace: 'shop', name: 'payments' } as const;
export const SERVICE_ID = `spiffe://${TRUST_DOMAIN}/ns/${SERVICE.namespace}/svc/${SERVICE.name}`;
export const CALLER_ID = `spiffe://${TRUST_DOMAIN}/ns/${SERVICE.namespace}/svc/web`;
/** What callers put into SNI: port, service, namespace, trust domain. */
export const SERVER_NAME = `http.${SERVICE.name}.${SERVICE.namespace}.svc.${TRUST_DOMAIN}`;

/** What callers put into SNI where they expect the gateway to end TLS, and whom they expect then. */
export const LAYER7_NAME = `http.${SERVICE.name}.${SERVICE.namespace}.l7.${TRUST_DOMAIN}`;
export const GATEWAY_ID = `spiffe://${TRUST_DOMAIN}/gateway`;

/** The service with one healthy endpoint at a port of loopback, and what else is given. */
export function serviceSnapshot(port: number, more: readonly SnapshotResource[] = []): Snapshot {
  const endpoint = anEndpoint({ host: '127.0.0.1', ports: { http: port }, spiffeId: SERVICE_ID });
  const resources = [aServiceView({ ...SERVICE, ports: [{ name: 'http', port: 8080, protocol: 'http' }], endpoints: [endpoint], gatewayLayer: 7 }), ...more];
  return { version: 1, resources: new Map(resources.map((resource) => [resourceName(resource), resource])) };
}
