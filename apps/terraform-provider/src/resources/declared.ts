// Resources that are documents of the API: put whole, read whole, fenced by their ETag. A declaration of one is its schema and its words.
import { randomUUID } from 'node:crypto';
import { type Resource, routeOf } from '@isthmus/api';
import { IsthmusError, type Parsed, type Problem } from '@isthmus/model';
import type { Api, CallAnswer } from '../connection/api.ts';
import { isPassing } from '../connection/retry.ts';
import { fail } from '../errors.ts';
import { attributesOf, fromDocument, knownProblems, snakePath, toDocument, toSnake } from '../from-schema.ts';
import type { Outcome, Private, ResourceDefinition } from '../protocol/definition.ts';
import { hasUnknown, isSame, textAt, type ValueObject } from '../protocol/value.ts';
import { CLUSTER, clusterOf, clusterProblems, ID, importParts, withCluster } from './scope.ts';

export type Declared = {
  readonly typeName: string;
  readonly description: string;
  readonly example: string;
  /** The API's resource: its path, its key and its schema. */
  readonly resource: Resource;
  /** The model's whole check, beyond the schema. */
  readonly parse: (document: unknown) => Parsed<unknown>;
};

/** How long a write that nobody answered is looked for. */
const LOOK_LIMIT_MS = 3_000;

export function declaredResource({ typeName, description, example, resource, parse }: Declared): ResourceDefinition<Api> {
  const schema = resource.document;
  const keys = Object.keys(resource.keyParams);
  const keyNames = keys.map(toSnake);
  const title = resource.path.split('-').map((word) => `${word[0]?.toUpperCase() ?? ''}${word.slice(1)}`).join('');
  const routes = { put: routeOf(`put${title}`).id, get: routeOf(`get${title}`).id, remove: routeOf(`delete${title}`).id };

  const paramsOf = (api: Api, state: ValueObject): Record<string, string> => ({ cluster: clusterOf(api, state), ...Object.fromEntries(keys.map((key) => [key, textAt(state, toSnake(key)) ?? ''])) });
  const nameOf = (state: ValueObject): string => keyNames.map((name) => textAt(state, name)).join('/');
  const idOf = (api: Api, state: ValueObject): string => `${clusterOf(api, state)}/${nameOf(state)}`;
  const get = async (api: Api, state: ValueObject, signal: AbortSignal): Promise<CallAnswer<object> | undefined> => absentAsUndefined(api.call<object>(routes.get, { params: paramsOf(api, state) }, signal));
  const stateOf = (api: Api, shell: ValueObject, answer: CallAnswer<object>): Outcome => {
    const cluster = clusterOf(api, shell);
    return { state: { ...shell, ...fromDocument(schema, answer.value), cluster, id: idOf(api, { ...shell, cluster }) }, private: keptOf(answer.etag) };
  };

  /** Writes, and where nobody says whether it was written, looks. */
  const write = async (api: Api, planned: ValueObject, fence: { readonly ifNoneMatch: '*' } | { readonly ifMatch: string | undefined }, before: Outcome, signal: AbortSignal): Promise<Outcome> => {
    const body = toDocument(schema, planned);
    try {
      const { etag } = await api.call(routes.put, { params: paramsOf(api, planned), body, idempotencyKey: randomUUID(), ...fence }, signal);
      // The answer to a write made twice has no ETag: the thing has.
      const kept = etag ?? (await get(api, planned, signal))?.etag;
      return { state: { ...planned, id: idOf(api, planned) }, private: keptOf(kept) };
    } catch (error) {
      if (!isUnclear(error)) return { ...before, error: explained(error, typeName, idOf(api, planned)) };
      return afterUnclear(await look(() => get(api, planned, AbortSignal.timeout(LOOK_LIMIT_MS))), api, planned, before, error);
    }
  };
  const afterUnclear = (found: Awaited<ReturnType<typeof look<CallAnswer<object> | undefined>>>, api: Api, planned: ValueObject, before: Outcome, error: unknown): Outcome => {
    // Nobody knows: it goes into the state, so that Terraform looks for it at the next run.
    if (!found.ok) return before.state === null ? { state: { ...planned, id: idOf(api, planned) }, error } : { ...before, error };
    if (found.value === undefined) return { state: null, error };
    const now = stateOf(api, planned, found.value);
    return now.state !== null && isSame(sorted(toDocument(schema, now.state)), sorted(toDocument(schema, planned))) ? now : before.state === null ? { state: null, error } : { ...now, error };
  };

  return {
    typeName,
    description,
    example,
    importId: `cluster/${keyNames.join('/')}`,
    attributes: { id: ID, cluster: CLUSTER, ...attributesOf(schema, { replaces: keyNames }) },
    validate: (config) => [...clusterProblems(config), ...documentProblems(schema, parse, config)],
    plan: ({ api, config, proposed }) => withCluster(api, config, proposed),
    create: (api, planned, { signal }) => write(api, planned, { ifNoneMatch: '*' }, { state: null }, signal),
    update: (api, planned, prior, kept, { signal }) => write(api, planned, { ifMatch: kept['etag'] }, { state: prior, private: kept }, signal),
    read: async (api, state, _kept, { signal }) => {
      const found = await get(api, state, signal);
      return found === undefined ? { state: null } : stateOf(api, state, found);
    },
    remove: async (api, state, kept, { signal }) => {
      try {
        await absentAsUndefined(api.call(routes.remove, { params: paramsOf(api, state), idempotencyKey: randomUUID(), ifMatch: kept['etag'] }, signal));
      } catch (error) {
        const found = isUnclear(error) ? await look(() => get(api, state, AbortSignal.timeout(LOOK_LIMIT_MS))) : undefined;
        if (found?.ok === true && found.value === undefined) return;
        throw explained(error, typeName, idOf(api, state));
      }
    },
    fromImportId: (id, api) => importParts(id, keyNames, api),
  };
}

/** What is wrong with a document, as far as it is known: by the schema, and whole by the model. */
export function documentProblems(schema: Resource['document'], parse: Declared['parse'], config: ValueObject): readonly Problem[] {
  const problems = knownProblems(schema, withoutOwn(config));
  if (problems.length > 0 || hasUnknown(withoutOwn(config))) return problems;
  const parsed = parse(toDocument(schema, config));
  return parsed.ok ? [] : parsed.problems.map((p) => ({ path: snakePath(p.path), message: p.message }));
}

/** What Terraform has beside the document does not matter to it. */
function withoutOwn({ id: _id, cluster: _cluster, timeouts: _timeouts, ...document }: ValueObject): ValueObject {
  return document;
}

/** Gone is a value; a cluster that is unknown is no proof of that. */
export async function absentAsUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof IsthmusError && (error.code === 'API_NOT_FOUND' || error.code === 'IDENTITY_TOKEN_NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Whether a write may have been done all the same: nobody answered, or the answer was lost. */
export function isUnclear(error: unknown): boolean {
  return !(error instanceof IsthmusError) || isPassing(error) || error.code === 'TERRAFORM_STOPPED' || error.code === 'TERRAFORM_UNANSWERED' || error.code === 'API_ANSWER_INVALID';
}

type Looked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false };

/** One look at what there is, beside the operation's own limit, which may be over. */
export async function look<T>(read: () => Promise<T>): Promise<Looked<T>> {
  try {
    return { ok: true, value: await read() };
  } catch {
    return { ok: false };
  }
}

/** The API's refusals of a fence, in the words of a person who uses Terraform. */
function explained(error: unknown, typeName: string, id: string): unknown {
  if (!(error instanceof IsthmusError) || error.code !== 'CONTROL_PLANE_STALE') return error;
  if (error.message.includes('for a new one')) return fail('TERRAFORM_EXISTS', `${id} is there already, and Terraform did not make it`, { hint: `take it over with \`terraform import ${typeName}.NAME ${id}\`, or remove it`, cause: error });
  return fail('TERRAFORM_CHANGED', `${id} was changed by somebody else since Terraform read it; nothing was written: ${error.message}`, { hint: 'run terraform plan again and look at what changed', cause: error });
}

function keptOf(etag: string | undefined): Private {
  return etag === undefined ? {} : { etag };
}

/** A document with the order taken out that means nothing. */
function sorted(document: unknown): ValueObject {
  return JSON.parse(JSON.stringify(document, (_key, value: unknown) => (Array.isArray(value) && value.every((item) => typeof item === 'string') ? value.toSorted() : value))) as ValueObject;
}
