// Every route of the API, made from the resources: method, path, what comes in, what goes out, who may.
import { exportSchema, memberSchema, schemas, type TSchema, Type } from '@isthmus/model';
import { API_ROLES, type ApiRole, type Resource, RESOURCES, type Verb } from './resource.ts';

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
  readonly scope: 'namespace' | 'cluster' | 'any';
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

const auditEntry = Type.Object({ sequence: Type.Integer({ minimum: 1 }), atMs: Type.Number(), event: Type.String(), request: Type.String(), caller: Type.String(), method: Type.String(), path: Type.String() }, { additionalProperties: true });

const SINGLE: readonly Route[] = [
  { ...base, id: 'getWhoAmI', method: 'GET', path: '/v1/whoami', summary: 'who the caller is, and what it may do', roles: [], scope: 'any', answers: { 200: Type.Object({ caller: Type.String(), cluster: Type.String(), grants: Type.Array(freeForm) }) } },
  { ...base, id: 'getOpenApi', method: 'GET', path: '/v1/openapi.json', summary: 'this API as an OpenAPI 3.1 document', roles: [], scope: 'any', answers: { 200: freeForm } },
  { ...base, id: 'listClusters', method: 'GET', path: '/v1/clusters', summary: 'clusters of the federation', scope: 'any', query: { ...paging }, isWatchable: false, answers: { 200: listSchema(memberSchema) } },
  { ...base, id: 'getFederationStatus', method: 'GET', path: '/v1/status', summary: 'every cluster’s state; a cluster that cannot be reached is a problem in its part only', scope: 'cluster', answers: { 200: Type.Object({ cluster: Type.String(), clusters: Type.Array(clusterPart) }) } },
  { ...base, id: 'getStatus', method: 'GET', path: '/v1/clusters/{cluster}/status', summary: 'state of one cluster', scope: 'cluster', params: clusterParam, answers: { 200: freeForm } },
  { ...base, id: 'listAudit', method: 'GET', path: '/v1/clusters/{cluster}/audit', summary: 'writes and refusals, newest first', roles: ['trust-admin'], scope: 'cluster', params: clusterParam, query: { ...paging }, answers: { 200: listSchema(auditEntry) } },
];

/** All routes. */
export const ROUTES: readonly Route[] = [...SINGLE, ...RESOURCES.flatMap(routesOf)];

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
