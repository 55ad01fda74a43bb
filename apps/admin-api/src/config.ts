// Every setting of an admin API: name, type, unit, default and what it is for.
import { schemas, type Static, strict, Type } from '@isthmus/model';
import { healthSchema, logSchema } from '@isthmus/runtime';

const roleSchema = Type.Union([Type.Literal('viewer'), Type.Literal('operator'), Type.Literal('trust-admin')]);
const allOr = (what: string) => Type.Union([Type.Literal('all'), Type.Array(schemas.dnsLabel, { minItems: 1, maxItems: 512 })], { default: 'all', description: what });

export const grantSchema = strict({
  who: Type.String({ minLength: 1, maxLength: 2_048, description: 'a SPIFFE ID such as spiffe://east.acme.example/operator/alice, or oidc:<subject> of the configured issuer' }),
  role: roleSchema,
  clusters: Type.Optional(allOr('clusters the role holds in')),
  namespaces: Type.Optional(allOr('namespaces the role holds in; what lies in no namespace needs `all`')),
});
export type GrantConfig = Static<typeof grantSchema>;

export const configSchema = strict({
  cluster: Type.String({ description: 'name of this cluster', maxLength: 32 }),
  federation: Type.String({ description: 'the federation’s trust domain, such as acme.example' }),
  stateDir: Type.String({ description: 'directory of the audit log, mode 0700' }),
  controlPlaneSocket: Type.String({ description: 'Unix socket of this cluster’s control plane' }),
  listen: strict({
    host: Type.String({ default: '127.0.0.1', description: 'address for operators; others come through the gateway' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 7_200, description: 'port of the same' }),
  }),
  grants: Type.Array(grantSchema, { default: [], maxItems: 10_000, description: 'who may do what; nobody else may do anything' }),
  forwarders: Type.Array(strict({ cluster: schemas.dnsLabel, roles: Type.Array(roleSchema, { minItems: 1 }) }), {
    default: [],
    maxItems: 512,
    description: 'clusters whose admin API may forward requests of people, and the most those may then do here',
  }),
  limits: Type.Optional(
    strict({
      requestsPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 50, description: 'requests of one caller' })),
      requestsBurst: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 200, description: 'requests of one caller at once' })),
      watches: Type.Optional(Type.Integer({ minimum: 1, maximum: 512, default: 128, description: 'watches open at once' })),
      connections: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_536, default: 1_024, description: 'connections open at once' })),
    }),
  ),
  health: healthSchema,
  log: logSchema,
});
export type Config = Static<typeof configSchema>;
