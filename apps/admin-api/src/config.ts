// Every setting of an admin API: name, type, unit, default and what it is for.
import { claimsMatchSchema, tokenIssuerFields } from '@isthmus/identity';
import { schemas, type Static, strict, Type } from '@isthmus/model';
import { healthSchema, logSchema } from '@isthmus/runtime';

const roleSchema = Type.Union([Type.Literal('viewer'), Type.Literal('operator'), Type.Literal('trust-admin')]);
const allOr = (what: string) => Type.Union([Type.Literal('all'), Type.Array(schemas.dnsLabel, { minItems: 1, maxItems: 512 })], { default: 'all', description: what });

export const grantSchema = strict({
  who: Type.String({ minLength: 1, maxLength: 2_048, description: 'a SPIFFE ID such as spiffe://east.acme.example/operator/alice, or oidc:<name of the issuer>:<subject>' }),
  role: roleSchema,
  clusters: Type.Optional(allOr('clusters the role holds in')),
  namespaces: Type.Optional(allOr('namespaces the role holds in; what lies in no namespace needs `all`')),
});
export type GrantConfig = Static<typeof grantSchema>;

/** An issuer of people's tokens, and what their claims are good for: every rule that matches counts. */
export const oidcIssuerSchema = strict({
  ...tokenIssuerFields,
  rules: Type.Array(
    strict({
      match: claimsMatchSchema,
      role: roleSchema,
      clusters: Type.Optional(allOr('clusters the role holds in')),
      namespaces: Type.Optional(allOr('namespaces the role holds in; what lies in no namespace needs `all`')),
    }),
    { default: [], maxItems: 1_000, description: 'roles by claims, such as match: { groups: platform }; every rule that matches counts' },
  ),
});
export type OidcIssuer = Static<typeof oidcIssuerSchema>;

export const configSchema = strict({
  cluster: Type.String({ description: 'name of this cluster', maxLength: 32 }),
  federation: Type.String({ description: 'the federation’s trust domain, such as acme.example' }),
  stateDir: Type.String({ description: 'directory of the audit log, mode 0700' }),
  controlPlaneSocket: Type.String({ description: 'Unix socket of this cluster’s control plane' }),
  trustRoot: Type.Optional(
    strict({
      address: schemas.hostPort,
      serverName: Type.Optional(Type.String({ description: 'SNI of the trust root (default: trust-root.isthmus.<federation>)' })),
    }),
  ),
  adminSocket: Type.Optional(Type.String({ description: 'Unix socket for this machine’s operator: recent log lines (default: <stateDir>/admin.sock)' })),
  listen: strict({
    host: Type.String({ default: '127.0.0.1', description: 'address for operators; others come through the gateway' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 7_200, description: 'port of the same' }),
  }),
  grants: Type.Array(grantSchema, { default: [], maxItems: 10_000, description: 'who may do what; nobody else may do anything' }),
  oidc: Type.Array(oidcIssuerSchema, { default: [], maxItems: 16, description: 'issuers (OpenID Connect) whose bearer tokens are taken' }),
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
