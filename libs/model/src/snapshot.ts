// All that one proxy needs at one version: named resources, sent as a whole or as the change to the next.
import { bansViewSchema } from './ban.ts';
import { bundleSchema } from './bundle.ts';
import { foreignCallersSchema } from './resource/federated-trust-domain.ts';
import { protocolSchema } from './resource/service.ts';
import { byLabel, compileSchema, schemas, type Static, Type } from './schema.ts';

const peerStateSchema = Type.Union([Type.Literal('fresh'), Type.Literal('stale'), Type.Literal('presumed-dead'), Type.Literal('fenced')]);

/**
 * An address of a service as one caller sees it. SNI and expected identity belong to the endpoint, never to the pool
 * (facts U7): `sni` is by port in `ports`. A remote cluster is one endpoint per gateway address, whose `weight` is what
 * stands ready behind it.
 */
export const endpointSchema = Type.Object({
  /** Unique within the service: `<cluster>/<agent>.<instance>`, or `<cluster>/gateway/<host:port>`. */
  id: Type.String({ maxLength: 400 }),
  cluster: schemas.dnsLabel,
  trustDomain: Type.String({ maxLength: 255 }),
  host: schemas.host,
  /** By service port name. */
  ports: byLabel(schemas.port),
  spiffeId: Type.String({ maxLength: 2_048 }),
  locality: Type.String({ maxLength: 200 }),
  weight: Type.Integer({ minimum: 0 }),
  health: Type.Union([Type.Literal('healthy'), Type.Literal('unhealthy'), Type.Literal('draining')]),
  /** Lower is nearer; dense from 0. Set by the control plane for the proxy this snapshot is for. */
  tier: Type.Integer({ minimum: 0 }),
  /** True when the address is another cluster's (or network's) gateway. */
  viaGateway: Type.Boolean(),
});
export type Endpoint = Static<typeof endpointSchema>;

const servicePortViewSchema = Type.Object({ name: schemas.dnsLabel, port: schemas.port, protocol: protocolSchema });

/** A service as one proxy sees it. For a gateway: only exported services, only endpoints of its own cluster. */
export const serviceViewSchema = Type.Object({
  kind: Type.Literal('service'),
  namespace: schemas.dnsLabel,
  name: schemas.dnsLabel,
  ports: Type.Array(servicePortViewSchema, { maxItems: 16 }),
  endpoints: Type.Array(endpointSchema, { maxItems: 20_000 }),
  exported: Type.Boolean(),
  /** For a gateway: requests to ports that are not `tcp` are carried at layer 7. */
  gatewayLayer: Type.Optional(Type.Literal(7)),
  /** Callers of foreign trust domains that its workloads here may take. */
  foreignCallers: Type.Optional(Type.Array(foreignCallersSchema, { maxItems: 64 })),
});
export type ServiceView = Static<typeof serviceViewSchema>;

export const bundleViewSchema = Type.Object({ kind: Type.Literal('bundle'), bundle: bundleSchema });
export type BundleView = Static<typeof bundleViewSchema>;

/**
 * The bundle of a foreign trust domain. A kind of its own, so that a proxy of a version that knows none of it lets
 * nobody foreign in, rather than everybody (decision 0015).
 */
export const foreignBundleViewSchema = Type.Object({ kind: Type.Literal('foreign-bundle'), bundle: bundleSchema });
export type ForeignBundleView = Static<typeof foreignBundleViewSchema>;

/** A cluster as a proxy is told of it; `staleSinceMs` is Unix time, so that the age can be shown while cut off. */
export const clusterViewSchema = Type.Object({
  kind: Type.Literal('cluster'),
  cluster: schemas.dnsLabel,
  trustDomain: Type.String({ maxLength: 255 }),
  state: peerStateSchema,
  staleSinceMs: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type ClusterView = Static<typeof clusterViewSchema>;

export const snapshotResourceSchema = Type.Union([serviceViewSchema, bundleViewSchema, foreignBundleViewSchema, clusterViewSchema, bansViewSchema]);
export type SnapshotResource = Static<typeof snapshotResourceSchema>;
/** Tolerant of unknown fields, so that versions n and n±1 understand each other. */
export const parseSnapshotResource = compileSchema(snapshotResourceSchema);

/** The name a resource goes by in snapshots and deltas. */
export function resourceName(r: SnapshotResource): string {
  switch (r.kind) {
    case 'service':
      return `service/${r.namespace}/${r.name}`;
    case 'bundle':
      return `bundle/${r.bundle.trustDomain}`;
    case 'foreign-bundle':
      return `foreign-bundle/${r.bundle.trustDomain}`;
    case 'cluster':
      return `cluster/${r.cluster}`;
    case 'bans':
      return `bans/${r.trustDomain}`;
  }
}

/** All one proxy needs, by resource name. `version` grows by one with each change a control plane sends. */
export type Snapshot = { readonly version: number; readonly resources: ReadonlyMap<string, SnapshotResource> };

export const EMPTY_SNAPSHOT: Snapshot = { version: 0, resources: new Map() };

/** The change from one version to the next; `full` replaces everything. */
export type Delta = {
  readonly full: boolean;
  readonly version: number;
  readonly upserts: readonly SnapshotResource[];
  readonly removals: readonly string[];
};

/** The snapshot after a delta. Pure; unchanged resources keep their identity, so that compiling can skip them. */
export function applyDelta(snapshot: Snapshot, delta: Delta): Snapshot {
  const resources = new Map(delta.full ? [] : snapshot.resources);
  for (const name of delta.removals) resources.delete(name);
  for (const resource of delta.upserts) resources.set(resourceName(resource), resource);
  return { version: delta.version, resources };
}

/**
 * What is wrong with a snapshot as a whole: an endpoint whose trust domain has no bundle could never be verified, and an
 * endpoint without a port the service has could never be reached. Empty means fit to use.
 */
export function snapshotProblems(snapshot: Snapshot): readonly string[] {
  const problems: string[] = [];
  for (const [name, r] of snapshot.resources) {
    if (r.kind !== 'service') continue;
    const ids = new Set<string>();
    for (const e of r.endpoints) {
      if (!snapshot.resources.has(`bundle/${e.trustDomain}`)) problems.push(`${name}: endpoint ${e.id} has no bundle for ${e.trustDomain}`);
      if (ids.has(e.id)) problems.push(`${name}: endpoint ${e.id} stands twice`);
      ids.add(e.id);
    }
  }
  return problems;
}
