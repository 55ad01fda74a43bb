// Services and ServiceExports of Kubernetes as what Isthmus knows: services and exports, or the reason why not. Pure.
import { type Export, isDnsLabel, type Protocol, quote, type Service, type ServicePort } from '@isthmus/model';
import type { KubeService, KubeServiceExport, KubeServicePort } from './objects.ts';

/** What a service may have at most, as the model says. */
const MAX_PORTS = 16;
/** Name given to a port that has none, which Kubernetes allows for a service's only port. */
export const UNNAMED_PORT = 'default';

/** A declaration, or why there is none. `notes` are parts that were left out. */
export type Declared<T> = { readonly ok: true; readonly value: T; readonly notes: readonly string[] } | { readonly ok: false; readonly reason: string };

/**
 * What the application speaks, by the Service's `appProtocol`, and without one by the port's name (`http`, `grpc`, `http2`,
 * alone or before a dash). Everything else is `tcp`: bytes as they are, which is right for all.
 * Source: Kubernetes, Service `appProtocol` (KEP-3726 for `kubernetes.io/h2c`).
 */
export function protocolOf({ name, appProtocol }: Pick<KubeServicePort, 'name' | 'appProtocol'>): Protocol {
  const said = appProtocol.toLowerCase();
  switch (said) {
    case 'http':
    case 'http/1.1':
    case 'kubernetes.io/ws':
      return 'http';
    case 'http2':
    case 'h2c':
    case 'kubernetes.io/h2c':
      return 'http2';
    case 'grpc':
      return 'grpc';
    case '': {
      const [first = ''] = name.split('-');
      return first === 'http' || first === 'http2' || first === 'grpc' ? first : 'tcp';
    }
    default:
      return 'tcp';
  }
}

/** A Service as a service of the same namespace and name. Ports that are not TCP are left out, and said. */
export function declareService(service: KubeService): Declared<Service> {
  const { namespace, name } = service;
  if (service.type === 'ExternalName') return { ok: false, reason: 'is an ExternalName: there is nothing behind it in this cluster' };
  if (!isDnsLabel(namespace) || !isDnsLabel(name)) return { ok: false, reason: 'its name is no DNS label' };
  const notes: string[] = [];
  const ports: ServicePort[] = [];
  for (const port of service.ports) {
    const portName = port.name === '' ? UNNAMED_PORT : port.name;
    if (port.protocol !== 'TCP') notes.push(`port ${portName} is ${port.protocol}, and only TCP is carried`);
    else if (!isDnsLabel(portName)) notes.push(`the name of port ${quote(portName)} is no DNS label`);
    else if (ports.some((p) => p.name === portName)) notes.push(`port ${portName} stands twice`);
    else ports.push({ name: portName, port: port.port, protocol: protocolOf(port) });
  }
  if (ports.length === 0) return { ok: false, reason: notes.length === 0 ? 'has no ports' : `has no port that can be carried: ${notes.join('; ')}` };
  if (ports.length > MAX_PORTS) return { ok: false, reason: `has ${ports.length} TCP ports, more than ${MAX_PORTS}` };
  return { ok: true, value: { kind: 'service', namespace, name, ports }, notes };
}

/**
 * A ServiceExport as an export. To all, as MCS has it, or to the clusters its annotation `isthmus/consumers` names; an
 * annotation that cannot be read exports to nobody, rather than to everybody.
 */
export function declareExport(exported: KubeServiceExport): Declared<Export> {
  const { namespace, name, consumers } = exported;
  if (!isDnsLabel(namespace) || !isDnsLabel(name)) return { ok: false, reason: 'its name is no DNS label' };
  const base = { kind: 'export', namespace, name } as const;
  if (consumers === undefined || consumers.trim() === 'all') return { ok: true, value: { ...base, consumers: 'all' }, notes: [] };
  const named = [...new Set(consumers.split(',').map((c) => c.trim()))].filter((c) => c !== '');
  const bad = named.find((c) => !isDnsLabel(c) || c.length > 32);
  if (bad !== undefined) return { ok: false, reason: `its annotation names ${quote(bad)}, which is no cluster` };
  if (named.length === 0 || named.length > 512) return { ok: false, reason: 'its annotation names no clusters, or more than 512' };
  return { ok: true, value: { ...base, consumers: named }, notes: [] };
}
