// One request, judged: parameters, query, headers and body against the contract, every wrong field named.
import { fail, headerSchema, parseStrictJson, type Route } from '@isthmus/api';
import { compileSchema, formatProblems, type IsthmusError, type Parsed, type Problem, strict, type TSchema } from '@isthmus/model';

/** A failure with the fields it is about. */
export class RefusedRequest extends Error {
  readonly error: IsthmusError;
  readonly problems: readonly Problem[];

  constructor(error: IsthmusError, problems: readonly Problem[]) {
    super(error.message);
    this.error = error;
    this.problems = problems;
  }
}

export type Checked = {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
};

type Parts = { readonly params: unknown; readonly query: unknown; readonly headers: Readonly<Record<string, string | string[] | undefined>> };

/** Compiles one route's checks. */
export function compileRoute(route: Route): { readonly head: (parts: Parts) => Pick<Checked, 'params' | 'query'>; readonly body: (bytes: Buffer | undefined) => unknown } {
  const params = compileSchema(strict({ ...route.params }));
  const query = compileSchema(strict({ ...route.query }));
  const headers = Object.keys(route.headers).map((name) => [name, compileSchema(headerSchema(name))] as const);
  const body = route.body === undefined ? undefined : compileSchema<TSchema>(route.body);
  return {
    head: (parts) => {
      const problems: Problem[] = [];
      for (const parsed of [params({ ...(parts.params as object) }), query({ ...(parts.query as object) })]) if (!parsed.ok) problems.push(...parsed.problems);
      for (const [name, check] of headers) {
        const value = parts.headers[name.toLowerCase()];
        const parsed = value === undefined ? undefined : check(value);
        if (parsed?.ok === false) problems.push(...parsed.problems.map((p) => ({ path: name, message: p.message })));
      }
      if (problems.length > 0) throw invalid(problems);
      return { params: parts.params as Checked['params'], query: parts.query as Checked['query'] };
    },
    body: (bytes) => {
      if (body === undefined) return undefined;
      const json = parseBody(bytes);
      if (!json.ok) throw invalid(json.problems);
      const parsed = body(json.value);
      if (!parsed.ok) throw invalid(parsed.problems);
      return parsed.value;
    },
  };
}

export function invalid(problems: readonly Problem[]): RefusedRequest {
  return new RefusedRequest(fail('API_INVALID', formatProblems(problems)), problems);
}

function parseBody(bytes: Buffer | undefined): Parsed<unknown> {
  if (bytes === undefined || bytes.length === 0) return { ok: false, problems: [{ path: '', message: 'the body is missing' }] };
  try {
    return parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return { ok: false, problems: [{ path: '', message: 'the body is no UTF-8' }] };
  }
}
