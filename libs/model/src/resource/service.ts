// A service as an operator declares it: a name that workloads stand behind.
import { compileSchema, schemas, type Static, strict, Type } from '../schema.ts';

/**
 * What the application speaks at a port. `http`: HTTP/1.1; `http2`: HTTP/2 without TLS, by prior knowledge; `grpc`: the same,
 * and said to be gRPC; all three take callers of either version and are retried where safe. `tcp`: bytes as they are.
 */
export const protocolSchema = Type.Union([Type.Literal('http'), Type.Literal('http2'), Type.Literal('grpc'), Type.Literal('tcp')]);
export type Protocol = Static<typeof protocolSchema>;

export const servicePortSchema = strict({
  name: schemas.dnsLabel,
  /** The port callers use on the service's mesh address. */
  port: schemas.port,
  protocol: protocolSchema,
});
export type ServicePort = Static<typeof servicePortSchema>;

export const serviceSchema = strict({
  kind: Type.Literal('service'),
  namespace: schemas.dnsLabel,
  name: schemas.dnsLabel,
  ports: Type.Array(servicePortSchema, { minItems: 1, maxItems: 16 }),
  labels: Type.Optional(schemas.labels),
});
export type Service = Static<typeof serviceSchema>;

export const parseService = compileSchema(serviceSchema);
