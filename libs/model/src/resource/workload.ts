// A workload: one running instance of a service, registered by the agent beside it.
import { byLabel, compileSchema, schemas, type Static, strict, Type } from '../schema.ts';

const durationMs = (defaultMs: number) => Type.Optional(Type.Integer({ minimum: 50, maximum: 600_000, default: defaultMs }));

/** How an agent finds out whether its workload works. Defaults follow Kubernetes and Istio probes (facts 3). */
export const healthCheckSchema = strict({
  kind: Type.Union([Type.Literal('http'), Type.Literal('tcp'), Type.Literal('grpc')]),
  /** HTTP only: the path asked for; any 2xx or 3xx answer is healthy. */
  path: Type.Optional(Type.String({ pattern: '^/', maxLength: 1024 })),
  /** gRPC only: the service name of grpc.health.v1. */
  grpcService: Type.Optional(Type.String({ maxLength: 256 })),
  /** The port probed; the workload's first port without it. */
  port: Type.Optional(schemas.port),
  intervalMs: durationMs(2_000),
  timeoutMs: durationMs(1_000),
  unhealthyThreshold: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 3 })),
  healthyThreshold: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 1 })),
});
export type HealthCheck = Static<typeof healthCheckSchema>;

/**
 * Which processes of the machine are the workload, for the SPIFFE Workload API: all that are given must match. What
 * the kernel says of a process, never what it says of itself.
 */
export const selectorsSchema = Type.Object(
  {
    uid: Type.Optional(Type.Integer({ minimum: 0, maximum: 4_294_967_294 })),
    gid: Type.Optional(Type.Integer({ minimum: 0, maximum: 4_294_967_294 })),
    /** Path of the program the process runs, in full and with links resolved. */
    path: Type.Optional(Type.String({ pattern: '^/', maxLength: 4_096 })),
  },
  { additionalProperties: false, minProperties: 1 },
);
export type Selectors = Static<typeof selectorsSchema>;

/** What the file of a workload says (`workloads.d/*.yaml`): the service, the instance and where the application listens. */
export const workloadSchema = strict({
  kind: Type.Literal('workload'),
  namespace: schemas.dnsLabel,
  service: schemas.dnsLabel,
  instance: schemas.dnsLabel,
  /** Where the application listens, by service port name. */
  ports: byLabel(schemas.port, { minProperties: 1 }),
  /** The application's address as the agent reaches it. */
  host: Type.Optional(schemas.host),
  weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
  healthCheck: Type.Optional(healthCheckSchema),
  labels: Type.Optional(schemas.labels),
  /** Without them the workload is not served by the Workload API. */
  selectors: Type.Optional(selectorsSchema),
});
export type Workload = Static<typeof workloadSchema>;

export const parseWorkload = compileSchema(workloadSchema);

/** Why a workload may or may not get traffic. `draining` is an operator's word, the others are the health check's. */
export const healthSchema = Type.Union([Type.Literal('unknown'), Type.Literal('healthy'), Type.Literal('unhealthy'), Type.Literal('draining')]);
export type Health = Static<typeof healthSchema>;

/**
 * A workload as the registry keeps it: what its agent sent, plus who that agent is. Keyed by agent and instance, never
 * by address (facts U19). `sequence` grows with each report of one agent's life, so an older report never wins.
 */
export const registrationSchema = Type.Object({
  namespace: schemas.dnsLabel,
  service: schemas.dnsLabel,
  instance: schemas.dnsLabel,
  agent: schemas.dnsLabel,
  /** The agent's inbound listener as reached inside `network`, by service port name. */
  address: schemas.host,
  inboundPorts: byLabel(schemas.port),
  network: schemas.dnsLabel,
  locality: Type.String({ maxLength: 200 }),
  weight: Type.Integer({ minimum: 1, maximum: 1_000 }),
  health: healthSchema,
  sequence: Type.Integer({ minimum: 0 }),
});
export type Registration = Static<typeof registrationSchema>;

export const parseRegistration = compileSchema(registrationSchema);

/** Key of one registration within its service: `<agent>.<instance>`. */
export function registrationKey(r: Pick<Registration, 'agent' | 'instance'>): string {
  return `${r.agent}.${r.instance}`;
}
