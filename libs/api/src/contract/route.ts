// Every route of the API, made from the resources: method, path, what comes in, what goes out, who may.
import { exportSchema, memberSchema, schemas, strict, type TSchema, Type } from '@isthmus/model';
import { API_ROLES, type ApiRole, banParam, type Resource, RESOURCES, trustDomainParam, type Verb } from './resource.ts';

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';

/** One route. `path` is a template of OpenAPI, such as `/v1/clusters/{cluster}/services`. */
export type Route = {
  readonly id: string;
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly resource?: Resource;
  readonly verb?: Verb;
  readonly params: Readonly<Record<string, TSchema>>;
  readonly query: Readonly<Record<string, TSchema>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: TSchema;
  readonly answers: Readonly<Record<number, TSchema>>;
  /** A caller needs one of these; none: any identified caller. */
  readonly roles: readonly ApiRole[];
  /** What the caller's grant must cover beside the role. */
  readonly scope: 'namespace' | 'cluster' | 'federation' | 'any';
  /** Whether `watch=true` streams changes. */
  readonly isWatchable: boolean;
};

/** The most items a page holds, and how many it holds where the caller does not say. */
export const MAX_PAGE = 1_000;
export const DEFAULT_PAGE = 200;

/** A flag of a query, written `true` or `false`. */
const flag = (description: string): TSchema => Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')], { description }));
const paging = {
  limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,3}$', description: `items of a page, at most ${MAX_PAGE} (default ${DEFAULT_PAGE})` })),
  cursor: Type.Optional(Type.String({ maxLength: 1_024, pattern: '^[A-Za-z0-9_-]*$', description: '`next` of the page before' })),
};
const DRY_RUN = { dryRun: flag('check everything, change nothing') };
const IF_MATCH = 'the ETag the change was made for; a change made for another revision is refused with 412';
const IDEMPOTENCY = 'a key of the caller’s choice: of two writes with the same key the second has no effect and the first one’s answer, for 24 hours';

export const itemSchema = (document: TSchema) => Type.Object({ key: Type.String(), etag: Type.String(), document });
const listSchema = (document: TSchema) =>
  Type.Object({
    cluster: Type.String(),
    items: Type.Array(itemSchema(document)),
    next: Type.Optional(Type.String({ description: 'cursor of the next page; absent on the last' })),
    ageMs: Type.Optional(Type.Number({ description: 'how old this knowledge of another cluster is; absent where it is the cluster’s own' })),
  });
const writtenSchema = (document: TSchema) => Type.Object({ changed: Type.Boolean(), created: Type.Boolean(), dryRun: Type.Boolean(), document });
const deletedSchema = Type.Object({ deleted: Type.Boolean(), dryRun: Type.Boolean() });
const freeForm = Type.Object({}, { additionalProperties: true });

const clusterParam = { cluster: schemas.dnsLabel };
const base = { params: {}, query: {}, headers: {}, roles: API_ROLES, isWatchable: false } as const;

const problem = Type.Object({ status: Type.Integer(), code: Type.String(), detail: Type.String() });
const clusterPart = Type.Object({
  cluster: Type.String(),
  source: Type.Union([Type.Literal('own'), Type.Literal('forwarded'), Type.Literal('mirror')]),
  ageMs: Type.Optional(Type.Number()),
  status: Type.Optional(freeForm),
  problem: Type.Optional(problem),
});

const attention = Type.Object({
  severity: Type.Union([Type.Literal('failing'), Type.Literal('expiring'), Type.Literal('stale'), Type.Literal('under-way')]),
  cluster: Type.String({ description: 'empty for what is the whole federation’s' }),
  subject: Type.String(),
  detail: Type.String(),
});

const auditEntry = Type.Object({ sequence: Type.Integer({ minimum: 1 }), atMs: Type.Number(), event: Type.String(), request: Type.String(), caller: Type.String(), method: Type.String(), path: Type.String() }, { additionalProperties: true });

const SINGLE: readonly Route[] = [
  { ...base, id: 'getWhoAmI', method: 'GET', path: '/v1/whoami', summary: 'who the caller is, and what it may do', roles: [], scope: 'any', answers: { 200: Type.Object({ caller: Type.String(), cluster: Type.String(), version: Type.String({ description: 'of this admin API' }), grants: Type.Array(freeForm) }) } },
  { ...base, id: 'getOpenApi', method: 'GET', path: '/v1/openapi.json', summary: 'this API as an OpenAPI 3.1 document', roles: [], scope: 'any', answers: { 200: freeForm } },
  { ...base, id: 'listClusters', method: 'GET', path: '/v1/clusters', summary: 'clusters of the federation', scope: 'any', query: { ...paging }, isWatchable: false, answers: { 200: listSchema(memberSchema) } },
  { ...base, id: 'getFederationStatus', method: 'GET', path: '/v1/status', summary: 'every cluster’s state; a cluster that cannot be reached is a problem in its part only', scope: 'cluster', answers: { 200: Type.Object({ cluster: Type.String(), clusters: Type.Array(clusterPart), trust: Type.Optional(freeForm), attention: Type.Array(attention, { description: 'what needs a look, gravest first' }) }) } },
  { ...base, id: 'getStatus', method: 'GET', path: '/v1/clusters/{cluster}/status', summary: 'state of one cluster', scope: 'cluster', params: clusterParam, answers: { 200: freeForm } },
  { ...base, id: 'listAudit', method: 'GET', path: '/v1/clusters/{cluster}/audit', summary: 'writes and refusals, newest first', roles: ['trust-admin'], scope: 'cluster', params: clusterParam, query: { ...paging }, answers: { 200: listSchema(auditEntry) } },
];

const sha256 = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256 of the document’s bytes, in hex' });
const foreignState = Type.Object({
  trustDomain: Type.String(),
  profile: Type.String(),
  url: Type.Optional(Type.String()),
  spiffeId: Type.Optional(Type.String()),
  state: Type.String({ description: '`ok`; `failing`: the last good bundle stays in force; `none`: nobody of it is let in' }),
  sequence: Type.Optional(Type.Integer()),
  x509Authorities: Type.Integer(),
  jwtAuthorities: Type.Integer(),
  sha256: Type.Optional(Type.String()),
  ageMs: Type.Optional(Type.Number({ description: 'since its source last confirmed the bundle in force' })),
  nextPollAtMs: Type.Optional(Type.Number()),
  lastError: Type.Optional(Type.String()),
});
/** A bundle document brought by hand; without its fingerprint, told by another way, it is not taken. */
export const foreignBundleSchema = strict({ document: Type.String({ minLength: 1, maxLength: 524_288, description: 'a SPIFFE bundle document, to the byte' }), sha256 });
const foreignParams = { ...clusterParam, trustDomain: trustDomainParam };
const foreignBundlePath = '/v1/clusters/{cluster}/foreign-trust-domains/{trustDomain}/bundle';

/** Bundles as documents, and what is known of a foreign one. */
const BUNDLES: readonly Route[] = [
  { ...base, id: 'getForeignBundle', method: 'GET', path: foreignBundlePath, summary: 'state of a foreign trust domain’s bundle', scope: 'cluster', params: foreignParams, answers: { 200: foreignState } },
  { ...base, id: 'putForeignBundle', method: 'PUT', path: foreignBundlePath, summary: 'take a bundle document of a foreign trust domain; an older one is refused', roles: ['trust-admin'], scope: 'cluster', params: foreignParams, body: foreignBundleSchema, answers: { 200: Type.Object({ changed: Type.Boolean(), sequence: Type.Integer() }) } },
  { ...base, id: 'getBundleDocument', method: 'GET', path: '/v1/clusters/{cluster}/bundles/{trustDomain}/document', summary: 'a bundle in force as a SPIFFE bundle document', scope: 'cluster', params: foreignParams, answers: { 200: Type.Object({ trustDomain: Type.String(), sequence: Type.Integer(), sha256: Type.String(), document: Type.String() }) } },
];

/** What every write takes; those of things with revisions take `If-Match` as well. */
const ONCE = { query: DRY_RUN, headers: { 'Idempotency-Key': IDEMPOTENCY } } as const;
const TRUST = { ...base, roles: ['trust-admin'], scope: 'federation' } as const;
const memberParam = { member: schemas.dnsLabel };
const steps = ['distribute', 'prove', 'switch', 'reissue', 'prove-unused', 'retire'] as const;
export const rotateSchema = strict({
  action: Type.Union([Type.Literal('begin'), Type.Literal('pause'), Type.Literal('resume'), Type.Literal('rollback'), Type.Literal('without')]),
  without: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 300 }), { maxItems: 1_000, description: 'processes that are not waited for, such as east/agent/vm-1' })),
  holdBefore: Type.Optional(Type.Union(steps.map((step) => Type.Literal(step)), { description: 'a step to stop before, until `resume`' })),
  compromised: Type.Optional(Type.Boolean({ description: 'refused here: a root whose key is in other hands is replaced at the trust root’s own socket' })),
});
const clusterTrust = Type.Object({ cluster: Type.String(), isConnected: Type.Boolean(), heardAtMs: Type.Optional(Type.Number()), processes: Type.Integer(), acknowledged: Type.Integer(), onOldRoot: Type.Integer(), unheard: Type.Integer() });
const rotationSchema = Type.Object(
  {
    federation: Type.String(),
    roots: Type.Array(Type.Object({ sha256: Type.String(), state: Type.String(), expiresAtMs: Type.Optional(Type.Number()) })),
    rotation: Type.Optional(Type.Object({ id: Type.String(), step: Type.String(), paused: Type.Boolean(), waitingCount: Type.Integer() }, { additionalProperties: true })),
    clusters: Type.Array(clusterTrust, { description: 'of each cluster, how many of its processes acknowledged the new root' }),
  },
  { additionalProperties: true },
);
const isTried = { dryRun: Type.Optional(Type.Boolean({ description: 'true: all was checked and nothing changed' })) };
const tried = Type.Object({ cluster: Type.String(), ...isTried });
const fenceState = Type.Object({ cluster: Type.String(), fenced: Type.Boolean(), ...isTried });
export const clusterTokenSchema = strict({
  cluster: Type.String({ pattern: '^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$' }),
  ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 604_800, default: 3_600 })),
  replace: Type.Optional(Type.Boolean({ description: 'let a cluster that lost its keys join again under its name' })),
});
export const banRequestSchema = strict({
  kind: Type.Union([Type.Literal('agent'), Type.Literal('gateway'), Type.Literal('service')]),
  name: schemas.dnsLabel,
  namespace: Type.Optional(schemas.dnsLabel),
  reason: Type.Optional(Type.String({ maxLength: 200, description: 'why, for the log' })),
});

/** The federation's root of trust: the trust root itself is asked, and says who may. */
const TRUST_ROUTES: readonly Route[] = [
  { ...base, id: 'getTrust', method: 'GET', path: '/v1/trust', summary: 'the roots, how far a rotation is, and who acknowledged it in each cluster', scope: 'cluster', answers: { 200: rotationSchema } },
  { ...TRUST, ...ONCE, id: 'rotateTrust', method: 'POST', path: '/v1/trust/rotation', summary: 'begin, pause, resume or roll back the rotation of the root', body: rotateSchema, answers: { 200: rotationSchema } },
  { ...TRUST, id: 'listTrustLog', method: 'GET', path: '/v1/trust/log', summary: 'newest records of the trust root’s transparency log, oldest first', query: { last: Type.Optional(Type.String({ pattern: '^([1-9][0-9]{0,2}|1000)$', description: 'how many (default 100)' })) }, answers: { 200: Type.Object({ items: Type.Array(freeForm) }) } },
  { ...base, id: 'listFences', method: 'GET', path: '/v1/trust/fences', summary: 'clusters that are fenced', scope: 'cluster', answers: { 200: Type.Object({ items: Type.Array(Type.Object({ cluster: Type.String() })) }) } },
  { ...TRUST, ...ONCE, id: 'putFence', method: 'PUT', path: '/v1/trust/fences/{member}', summary: 'revoke all that a cluster ever signed, in every cluster and at once', params: memberParam, body: strict({ reason: Type.Optional(Type.String({ maxLength: 200 })) }), answers: { 200: fenceState } },
  { ...TRUST, ...ONCE, id: 'deleteFence', method: 'DELETE', path: '/v1/trust/fences/{member}', summary: 'let a fenced cluster join anew; what it signed before stays revoked', params: memberParam, answers: { 200: fenceState } },
  { ...TRUST, ...ONCE, id: 'createClusterToken', method: 'POST', path: '/v1/trust/cluster-tokens', summary: 'a one-time bootstrap token a cluster may join the federation with', body: clusterTokenSchema, answers: { 200: tried, 201: Type.Object({ cluster: Type.String(), id: Type.String(), token: Type.Optional(Type.String({ description: 'the secret; shown once and never again, also not to a repeated request' })), expiresAtMs: Type.Number() }) } },
  { ...TRUST, ...ONCE, id: 'removeMember', method: 'DELETE', path: '/v1/trust/members/{member}', summary: 'end a cluster’s membership', params: memberParam, answers: { 200: Type.Object({ cluster: Type.String(), removed: Type.Boolean(), ...isTried }) } },
  { ...base, ...ONCE, id: 'readmitAgent', method: 'POST', path: '/v1/clusters/{cluster}/readmissions', summary: 'let an agent attest again that was removed, or whose instance joined before', roles: ['trust-admin'], scope: 'cluster', params: clusterParam, body: strict({ agent: schemas.dnsLabel }), answers: { 200: Type.Object({ agent: Type.String(), readmitted: Type.Boolean(), ...isTried }) } },
  { ...base, ...ONCE, id: 'createBan', method: 'POST', path: '/v1/clusters/{cluster}/bans', summary: 'refuse what was issued to an agent or gateway, or as a service, up to now: here and in every peer', roles: ['trust-admin'], scope: 'cluster', params: clusterParam, body: banRequestSchema, answers: { 200: freeForm, 201: freeForm } },
  { ...base, ...ONCE, id: 'deleteBan', method: 'DELETE', path: '/v1/clusters/{cluster}/bans/{ban}', summary: 'take a ban back', roles: ['trust-admin'], scope: 'cluster', params: { ...clusterParam, ban: banParam }, answers: { 200: deletedSchema } },
];

/** All routes. */
export const ROUTES: readonly Route[] = [...SINGLE, ...BUNDLES, ...TRUST_ROUTES, ...RESOURCES.flatMap(routesOf)];

function routesOf(resource: Resource): Route[] {
  const all = `/v1/clusters/{cluster}/${resource.path}`;
  const one = `${all}/${Object.keys(resource.keyParams).map((name) => `{${name}}`).join('/')}`;
  const scope = resource.isNamespaced ? ('namespace' as const) : ('cluster' as const);
  const oneParams = { ...clusterParam, ...resource.keyParams };
  const title = resource.path.split('-').map((word) => `${word[0]?.toUpperCase()}${word.slice(1)}`).join('');
  const { verbs, document, body = document } = resource;
  const shared = { ...base, resource, scope };
  const routes: Route[] = [];
  if (verbs.list) {
    const query = { ...paging, ...(resource.isNamespaced && { namespace: Type.Optional(schemas.dnsLabel) }), watch: flag('stream changes as server-sent events') };
    // What another cluster offers is known here by its mirror, which does not hold whom it is offered to.
    const seen = resource.kind === 'export' ? Type.Union([exportSchema, freeForm]) : document;
    routes.push({ ...shared, id: `list${title}`, verb: 'list', method: 'GET', path: all, summary: `list: ${resource.title}`, params: clusterParam, query, roles: verbs.list, isWatchable: true, answers: { 200: listSchema(seen) } });
  }
  if (verbs.create) {
    routes.push({ ...shared, id: `create${title}`, verb: 'create', method: 'POST', path: all, summary: `create: ${resource.title}`, params: clusterParam, query: DRY_RUN, headers: { 'Idempotency-Key': IDEMPOTENCY }, body, roles: verbs.create, answers: { 200: freeForm, 201: resource.created ?? document } });
  }
  if (verbs.get) routes.push({ ...shared, id: `get${title}`, verb: 'get', method: 'GET', path: one, summary: `one: ${resource.title}`, params: oneParams, roles: verbs.get, answers: { 200: document } });
  const writes = { query: DRY_RUN, headers: { 'If-Match': IF_MATCH, 'Idempotency-Key': IDEMPOTENCY } };
  if (verbs.put) {
    routes.push({ ...shared, ...writes, headers: { ...writes.headers, 'If-None-Match': '`*`: only where it is not there yet' }, id: `put${title}`, verb: 'put', method: 'PUT', path: one, summary: `create or replace: ${resource.title}`, params: oneParams, body, roles: verbs.put, answers: { 200: writtenSchema(document), 201: writtenSchema(document) } });
  }
  if (verbs.delete) routes.push({ ...shared, ...writes, id: `delete${title}`, verb: 'delete', method: 'DELETE', path: one, summary: `delete: ${resource.title}`, params: oneParams, roles: verbs.delete, answers: { 200: deletedSchema } });
  return routes;
}

/** The route of an id. **Throws** TypeError for one that is not in the contract. */
export function routeOf(id: string): Route {
  const found = ROUTES.find((route) => route.id === id);
  if (found === undefined) throw new TypeError(`no route is called ${id}`);
  return found;
}
