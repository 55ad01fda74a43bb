// An exported service as its digest: what crosses to another cluster, and to whom. Pure.
import type { Digest, Export, Service } from '@isthmus/model';
import { keys } from '@isthmus/store';

/** A service with its export and what stands ready behind it now. */
export type ExportedService = {
  readonly export: Export;
  readonly service: Service;
  /** Unix time the export was made at, where that is known. */
  readonly exportedAtMs?: number | undefined;
  readonly readyCount: number;
  readonly totalCount: number;
  readonly readyWeight: number;
};

/** A digest before it gets its sequence. */
export type DigestContent = Omit<Digest, 'sequence'>;

/** What a cluster says of an export: counts and weights, never its endpoints, so that what crosses does not grow with them. */
export function makeDigest(cluster: string, exported: ExportedService): DigestContent {
  const { service, readyCount, totalCount, readyWeight } = exported;
  const { exportedAtMs } = exported;
  const isLayer7 = exported.export.gateway?.layer === 7;
  return { kind: 'digest', cluster, namespace: service.namespace, name: service.name, ports: service.ports, readyCount, totalCount, readyWeight, ...(isLayer7 && { gatewayLayer: 7 }), ...(exportedAtMs !== undefined && { exportedAtMs }) };
}

/** The keys a digest stands under: one for all, or one for each named consumer but the exporter itself and those withdrawn from. */
export function sharedKeys(cluster: string, exported: ExportedService, withdrawn: ReadonlySet<string>): readonly string[] {
  const { consumers, namespace, name } = exported.export;
  if (consumers === 'all') return [keys.sharedExport('all', namespace, name)];
  return [...new Set(consumers)].filter((c) => c !== cluster && c !== 'all' && !withdrawn.has(c)).map((c) => keys.sharedExport(c, namespace, name));
}

/** The keys of a service's digest as one consumer may read them: as offered to all, and to it alone. */
export function readableKeys(consumer: string, service: { readonly namespace: string; readonly name: string }): readonly string[] {
  return [keys.sharedExport('all', service.namespace, service.name), keys.sharedExport(consumer, service.namespace, service.name)];
}
