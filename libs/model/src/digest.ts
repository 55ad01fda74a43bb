// What one cluster tells another: the signed summary of an exported service, and of the cluster itself.
import { servicePortSchema } from './resource/service.ts';
import { compileSchema, schemas, type Static, Type } from './schema.ts';

/**
 * An exported service in one record: how much of it is ready, not every endpoint of it, so that what crosses clusters
 * grows with exports and not with instances. `sequence` grows with each change and fences replays.
 */
export const digestSchema = Type.Object({
  kind: Type.Literal('digest'),
  cluster: schemas.dnsLabel,
  namespace: schemas.dnsLabel,
  name: schemas.dnsLabel,
  sequence: Type.Integer({ minimum: 1 }),
  ports: Type.Array(servicePortSchema, { minItems: 1, maxItems: 16 }),
  readyCount: Type.Integer({ minimum: 0 }),
  totalCount: Type.Integer({ minimum: 0 }),
  /** Sum of the weights of ready workloads: what this cluster can carry. */
  readyWeight: Type.Integer({ minimum: 0 }),
  /** The gateways end TLS for it, so callers must expect the gateway's identity at all ports that are not `tcp`. Without it: they do not. */
  gatewayLayer: Type.Optional(Type.Literal(7)),
  /** Unix time the export was made at, where that is known: of several clusters' exports the oldest says which ports there are (KEP-1645). */
  exportedAtMs: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type Digest = Static<typeof digestSchema>;
export const parseDigest = compileSchema(digestSchema);

/** The cluster itself, rewritten at every heartbeat. */
export const clusterRecordSchema = Type.Object({
  kind: Type.Literal('cluster'),
  cluster: schemas.dnsLabel,
  trustDomain: Type.String({ maxLength: 255 }),
  locality: Type.String({ maxLength: 200 }),
  gateways: Type.Array(schemas.hostPort, { maxItems: 64 }),
  sequence: Type.Integer({ minimum: 1 }),
});
export type ClusterRecord = Static<typeof clusterRecordSchema>;
export const parseClusterRecord = compileSchema(clusterRecordSchema);

/**
 * The next sequence of a record: past the last one, and past the clock, so that a store restored from an old backup
 * still goes forward. Order is by sequence alone; the clock only ever pushes it on.
 */
export function nextSequence(last: number, nowMs: number): number {
  return Math.max(last + 1, nowMs);
}
