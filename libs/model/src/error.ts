// The one error base: every failure Isthmus reports has a stable code, and the code decides status, exit and retry.

/** What class of failure a code belongs to; decides HTTP status, gRPC status, exit code and whether a retry can help. */
export type ErrorClass =
  | 'invalid'
  | 'unauthenticated'
  | 'denied'
  | 'not-found'
  | 'conflict'
  | 'exhausted'
  | 'unavailable'
  | 'timeout'
  | 'internal';

/** How one class shows at each edge. gRPC codes are those of grpc.io's status list, exit codes follow sysexits(3). */
export const ERROR_CLASSES: Readonly<
  Record<ErrorClass, { readonly http: number; readonly grpc: number; readonly exit: number; readonly retry: boolean }>
> = {
  invalid: { http: 400, grpc: 3, exit: 65, retry: false },
  unauthenticated: { http: 401, grpc: 16, exit: 77, retry: false },
  denied: { http: 403, grpc: 7, exit: 77, retry: false },
  'not-found': { http: 404, grpc: 5, exit: 66, retry: false },
  conflict: { http: 409, grpc: 6, exit: 73, retry: false },
  exhausted: { http: 429, grpc: 8, exit: 75, retry: true },
  unavailable: { http: 503, grpc: 14, exit: 69, retry: true },
  timeout: { http: 504, grpc: 4, exit: 75, retry: true },
  internal: { http: 500, grpc: 13, exit: 70, retry: false },
};

/** A code's class and its one-line explanation; each lib keeps its own catalogue of these in `errors.ts`. */
export type ErrorCatalogue = Readonly<Record<string, { readonly class: ErrorClass; readonly doc: string }>>;

export type ErrorFacts = Readonly<Record<string, string | number | boolean | bigint>>;

/**
 * A failure with a stable code, what happened, where, and what to do about it.
 * `facts` are for logs and programs and never hold a secret; `hint` is for the person who reads it.
 */
export class IsthmusError extends Error {
  readonly code: string;
  readonly class: ErrorClass;
  readonly hint: string | undefined;
  readonly facts: ErrorFacts;

  constructor(
    code: string,
    errorClass: ErrorClass,
    message: string,
    options: { readonly hint?: string; readonly facts?: ErrorFacts; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'IsthmusError';
    this.code = code;
    this.class = errorClass;
    this.hint = options.hint;
    this.facts = options.facts ?? {};
  }
}

/** Makes a lib's own `fail(code, message, options)` from its catalogue, so that no code is thrown that is not listed. */
export function defineErrors<const C extends ErrorCatalogue>(catalogue: C) {
  return (
    code: keyof C & string,
    message: string,
    options: { readonly hint?: string; readonly facts?: ErrorFacts; readonly cause?: unknown } = {},
  ): IsthmusError => {
    const entry = catalogue[code];
    if (entry === undefined) throw new TypeError(`error code ${code} is in no catalogue`);
    return new IsthmusError(code, entry.class, message, options);
  };
}

/** The message of anything thrown, for logs and for `cause` chains. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
