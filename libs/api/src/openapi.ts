// The contract as an OpenAPI 3.1 document: made from the schemas that validate, so the two cannot differ.
import { type TSchema, Type } from '@isthmus/model';
import { type Route, ROUTES } from './contract/route.ts';
import { PROBLEM_MEDIA_TYPE, problemDocumentSchema } from './problem-document.ts';

/** The OpenAPI 3.1 document of the admin API, as plain data. Source: OpenAPI Specification 3.1.0. */
export function openApiDocument(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of ROUTES) {
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = operation(route);
  }
  return plain({
    openapi: '3.1.0',
    info: { title: 'Isthmus federation admin API', version: '1', description: 'Any cluster’s admin API answers for the whole federation.', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/' }],
    security: [{ mutualTls: [] }, { bearer: [] }],
    paths,
    components: {
      schemas: { Problem: problemDocumentSchema },
      securitySchemes: {
        mutualTls: { type: 'mutualTLS', description: 'an X.509-SVID of a trust domain of the federation' },
        bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'a token of the configured OIDC issuer' },
      },
    },
  });
}

function operation(route: Route): object {
  const answers = Object.entries(route.answers).map(([status, schema]) => {
    const content = { 'application/json': { schema }, ...(route.isWatchable && { 'text/event-stream': { schema: Type.String() } }) };
    return [status, { description: route.summary, ...(hasETag(route) && { headers: { ETag: { schema: Type.String() } } }), content }];
  });
  return {
    operationId: route.id,
    summary: route.summary,
    tags: [route.resource?.path ?? 'federation'],
    ...(route.roles.length > 0 && { description: `Roles: ${route.roles.join(', ')}.` }),
    parameters: [
      ...Object.entries(route.params).map(([name, schema]) => ({ name, in: 'path', required: true, schema })),
      ...Object.entries(route.query).map(([name, schema]) => ({ name, in: 'query', required: false, schema })),
      ...Object.entries(route.headers).map(([name, description]) => ({ name, in: 'header', required: false, description, schema: headerSchema(name) })),
    ],
    ...(route.body && { requestBody: { required: true, content: { 'application/json': { schema: route.body } } } }),
    responses: {
      ...Object.fromEntries(answers),
      default: { description: 'a problem', content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } } },
    },
  };
}

function hasETag(route: Route): boolean {
  return route.verb === 'get' || route.verb === 'put';
}

/** What a header of a request may be. */
export function headerSchema(name: string): TSchema {
  if (name === 'If-Match') return Type.String({ pattern: '^("[0-9]{1,19}"|\\*)$' });
  if (name === 'If-None-Match') return Type.String({ pattern: '^\\*$' });
  return Type.String({ minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' });
}

/** Without what typebox keeps beside the JSON Schema. */
function plain(value: object): object {
  return JSON.parse(JSON.stringify(value)) as object;
}
