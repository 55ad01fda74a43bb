// A service as an operator declares it: a name that workloads stand behind.
import { compileSchema, dnsLabel, type Static, strict, Type } from '../schema.ts';

/** What the application speaks at a port. */
export const protocolSchema = Type.Union([Type.Literal('http'), Type.Literal('http2'), Type.Literal('grpc'), Type.Literal('tcp')], {
  description:
    'What the application speaks. `http`: HTTP/1.1; `http2`: HTTP/2 without TLS, by prior knowledge; `grpc`: the same, and said to be gRPC; all three take callers of either version and are retried where safe. `tcp`: bytes as they are',
});
export type Protocol = Static<typeof protocolSchema>;

export const servicePortSchema = strict({
  name: dnsLabel('Name of the port, unique in its service'),
  port: Type.Integer({ minimum: 1, maximum: 65_535, description: 'The port callers use on the service’s mesh address' }),
  protocol: protocolSchema,
});
export type ServicePort = Static<typeof servicePortSchema>;

export const serviceSchema = strict({
  kind: Type.Literal('service'),
  namespace: dnsLabel('Namespace of the service: the same in every cluster'),
  name: dnsLabel('Name of the service: with its namespace the same service in every cluster'),
  ports: Type.Array(servicePortSchema, { minItems: 1, maxItems: 16, description: 'Ports callers use' }),
  labels: Type.Optional(Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 253 }), { description: 'Free words about it' })),
});
export type Service = Static<typeof serviceSchema>;

export const parseService = compileSchema(serviceSchema);
