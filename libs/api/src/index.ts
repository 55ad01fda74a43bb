// The admin API as data: routes, schemas, problem documents, the OpenAPI document and the client made from them.
export { API_ROLES, type ApiRole, joinTokenRequestSchema, type JoinTokenBody, type Resource, RESOURCES, type Verb } from './contract/resource.ts';
export { DEFAULT_PAGE, MAX_PAGE, type Method, type Route, routeOf, ROUTES } from './contract/route.ts';
export { type Attention, attentionOf, type ClusterPart, SEVERITIES, type Severity, type TrustPart } from './attention.ts';
export { type ApiClient, type ApiRequest, type Fetch, type Item, openApiClient, type Page, type WatchEvent } from './client.ts';
export { fail } from './errors.ts';
export { parseStrictJson } from './json.ts';
export { headerSchema, openApiDocument } from './openapi.ts';
export { PROBLEM_MEDIA_TYPE, type ProblemDocument, statusOf, toProblemDocument } from './problem-document.ts';
export { readEvents, type ServerSentEvent } from './sse.ts';
