// The resources of the API as data: what each is called, what it looks like, who may read and write it.
import { banSchema, bundleSchema, dnsLabel, drainSchema, drainStateSchema, entrySchema, exportSchema, federatedTrustDomainSchema, joinRoleSchema, proxyRoleSchema, registrationSchema, schemas, serviceSchema, servicePortSchema, strict, type Static, type TSchema, Type } from '@isthmus/model';

/** What a caller may do: `viewer` reads, `operator` also declares, `trust-admin` also hands out and takes identities. */
export type ApiRole = 'viewer' | 'operator' | 'trust-admin';
export const API_ROLES: readonly ApiRole[] = ['viewer', 'operator', 'trust-admin'];

const READERS: readonly ApiRole[] = ['viewer', 'operator', 'trust-admin'];
const OPERATORS: readonly ApiRole[] = ['operator'];
const TRUST: readonly ApiRole[] = ['trust-admin'];

export type Verb = 'list' | 'get' | 'put' | 'create' | 'delete';

/** One kind of thing, under `/v1/clusters/{cluster}/<path>`. */
export type Resource = {
  readonly path: string;
  /** The kind by the word the control plane knows it by. */
  readonly kind: string;
  readonly title: string;
  /** Parameters of one thing's path, in order; joined by `/` they are its key. */
  readonly keyParams: Readonly<Record<string, TSchema>>;
  /** Whether things lie in namespaces, so that a caller may be let into some only. */
  readonly isNamespaced: boolean;
  /** What one looks like in answers. */
  readonly document: TSchema;
  /** What a `put` or `create` takes. */
  readonly body?: TSchema;
  /** What a `create` answers, where that is more than the thing. */
  readonly created?: TSchema;
  readonly verbs: Readonly<Partial<Record<Verb, readonly ApiRole[]>>>;
};

const label = schemas.dnsLabel;
const name = Type.String({ minLength: 1, maxLength: 255, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' });
const namespaced = { namespace: label, name: label } as const;
const count = Type.Integer({ minimum: 0 });
const instantMs = Type.Integer({ minimum: 0, description: 'Unix time in milliseconds' });

export const joinTokenRequestSchema = strict({
  agent: dnsLabel('Name of the agent, gateway or operator that may join with it'),
  role: joinRoleSchema,
  services: Type.Optional(Type.Array(Type.String({ maxLength: 127, pattern: '^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$' }), { maxItems: 64, description: '`namespace/service` names an agent may hold identities of' })),
  ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 604_800, default: 3_600, description: 'How long it is good' })),
});
export type JoinTokenBody = Static<typeof joinTokenRequestSchema>;

const joinTokenView = Type.Object({
  kind: Type.Literal('join-token'),
  id: Type.String({ pattern: '^[0-9a-f]{12}$' }),
  agent: label,
  role: joinRoleSchema,
  services: Type.Array(Type.String()),
  expiresAtMs: instantMs,
  usedAtMs: Type.Optional(instantMs),
});
const createdToken = Type.Object({
  id: Type.String(),
  token: Type.Optional(Type.String({ description: 'the secret; shown once and never again, also not to a repeated request' })),
  expiresAtMs: instantMs,
});

const peer = Type.Object({ cluster: label, state: Type.String({ description: 'fresh, stale, presumed-dead or fenced' }), ageMs: Type.Optional(Type.Number({ minimum: 0 })), exports: Type.Optional(count), refused: Type.Optional(count) });
const proxy = Type.Object({ id: Type.String(), kind: Type.String(), network: Type.String(), version: Type.Optional(Type.String({ description: 'of its program' })), sentVersion: Type.Number(), ackedVersion: Type.Number(), inSync: Type.Boolean({ description: 'whether the configuration sent last is acknowledged' }), nack: Type.Optional(Type.Object({ version: Type.Number(), reason: Type.String() }, { description: 'the configuration it refused last' })) });
const member = Type.Object({
  name: label,
  role: proxyRoleSchema,
  connected: Type.Boolean({ description: 'to its control plane' }),
  network: Type.Optional(Type.String()),
  locality: Type.Optional(Type.String()),
  version: Type.Optional(Type.String({ description: 'of its program' })),
  sentVersion: Type.Optional(Type.Number()),
  ackedVersion: Type.Optional(Type.Number({ description: 'the configuration it acknowledged last' })),
  inSync: Type.Optional(Type.Boolean({ description: 'whether the configuration sent last is acknowledged' })),
  nack: Type.Optional(Type.Object({ version: Type.Number(), reason: Type.String() }, { description: 'the configuration it refused last' })),
  connectedSinceMs: Type.Optional(instantMs),
  drain: Type.Object(
    {
      wanted: Type.Boolean({ description: 'whether a drain of it is declared' }),
      workloads: Type.Optional(Type.Array(Type.String(), { description: 'which; all without it' })),
      acknowledged: Type.Boolean({ description: 'whether it acts on what is declared now' }),
      state: Type.Union([drainStateSchema, Type.Literal('unknown', { description: 'it was not heard since its control plane started, or is of a version that knows no drains' })]),
      connections: Type.Optional(count),
      problem: Type.Optional(Type.String()),
      address: Type.Optional(Type.String({ description: 'a gateway’s, as peers reach it' })),
      heardAtMs: Type.Optional(instantMs),
    },
    { description: 'what is wanted, and what it says of that' },
  ),
});
const imported = Type.Object({ namespace: label, name: label, cluster: label, ports: Type.Array(servicePortSchema), readyCount: count, totalCount: count, state: Type.String(), gateways: Type.Array(Type.String()), locality: Type.String() });
const certificate = Type.Object({ name: Type.String(), spiffeId: Type.String(), expiresAtMs: Type.Number() });

/** The id of a ban in a path. */
export const banParam = Type.String({ pattern: '^[0-9a-f]{16}$' });
/** The name of a trust domain in a path. */
export const trustDomainParam = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,252}$' });

export const RESOURCES: readonly Resource[] = [
  { path: 'services', kind: 'service', title: 'service', keyParams: namespaced, isNamespaced: true, document: serviceSchema, body: serviceSchema, verbs: { list: READERS, get: READERS, put: OPERATORS, delete: OPERATORS } },
  { path: 'exports', kind: 'export', title: 'export of a service to other clusters', keyParams: namespaced, isNamespaced: true, document: exportSchema, body: exportSchema, verbs: { list: READERS, get: READERS, put: OPERATORS, delete: OPERATORS } },
  { path: 'workloads', kind: 'workload', title: 'workload', keyParams: { namespace: label, service: label, instance: name }, isNamespaced: true, document: registrationSchema, verbs: { list: READERS, get: READERS } },
  { path: 'imports', kind: 'import', title: 'service another cluster offers', keyParams: { namespace: label, name: label, from: label }, isNamespaced: true, document: imported, verbs: { list: READERS, get: READERS } },
  { path: 'peers', kind: 'peer', title: 'other cluster, as this one sees it', keyParams: { peer: label }, isNamespaced: false, document: peer, verbs: { list: READERS, get: READERS } },
  { path: 'proxies', kind: 'proxy', title: 'agent or gateway, with the configuration it acknowledged', keyParams: { proxy: name }, isNamespaced: false, document: proxy, verbs: { list: READERS, get: READERS } },
  { path: 'agents', kind: 'agent', title: 'agent: its acknowledged configuration, and how far a drain is', keyParams: { agent: label }, isNamespaced: false, document: member, verbs: { list: READERS, get: READERS } },
  { path: 'gateways', kind: 'gateway', title: 'gateway: its acknowledged configuration, and how far a drain is', keyParams: { gateway: label }, isNamespaced: false, document: member, verbs: { list: READERS, get: READERS } },
  { path: 'drains', kind: 'drain', title: 'drain: an agent or gateway that is to get no new work until this is deleted', keyParams: { role: proxyRoleSchema, name: label }, isNamespaced: false, document: drainSchema, body: drainSchema, verbs: { list: READERS, get: READERS, put: OPERATORS, delete: OPERATORS } },
  { path: 'certificates', kind: 'certificate', title: 'certificate of the cluster', keyParams: { certificate: name }, isNamespaced: false, document: certificate, verbs: { list: READERS, get: READERS } },
  { path: 'bundles', kind: 'bundle', title: 'trust bundle', keyParams: { trustDomain: name }, isNamespaced: false, document: bundleSchema, verbs: { list: READERS, get: READERS } },
  { path: 'bans', kind: 'ban', title: 'ban of an agent or service', keyParams: { ban: banParam }, isNamespaced: false, document: banSchema, verbs: { list: READERS, get: READERS } },
  { path: 'foreign-trust-domains', kind: 'federated-trust-domain', title: 'foreign trust domain whose callers exports may name', keyParams: { trustDomain: trustDomainParam }, isNamespaced: false, document: federatedTrustDomainSchema, body: federatedTrustDomainSchema, verbs: { list: READERS, get: READERS, put: TRUST, delete: TRUST } },
  { path: 'join-tokens', kind: 'join-token', title: 'one-time join token', keyParams: { id: Type.String({ pattern: '^[0-9a-f]{12}$' }) }, isNamespaced: false, document: joinTokenView, body: joinTokenRequestSchema, created: createdToken, verbs: { list: TRUST, get: TRUST, create: TRUST, delete: TRUST } },
  { path: 'entries', kind: 'entry', title: 'agent, gateway or operator that joined', keyParams: { role: joinRoleSchema, agent: label }, isNamespaced: false, document: entrySchema, verbs: { list: TRUST, get: TRUST, delete: TRUST } },
];
