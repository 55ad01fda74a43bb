// What every refusal of the API looks like: a problem document (RFC 9457) that names the code, the fields and what to do.
import { ERROR_CLASSES, fieldOf, IsthmusError, type Problem, type Static, Type } from '@isthmus/model';

/** The media type of problem documents. Source: RFC 9457 §3. */
export const PROBLEM_MEDIA_TYPE = 'application/problem+json';

export const problemDocumentSchema = Type.Object({
  type: Type.String({ description: 'a URI that names the kind of problem: urn:isthmus:problem:<code>' }),
  title: Type.String({ description: 'the kind of problem in a few words' }),
  status: Type.Integer({ minimum: 400, maximum: 599 }),
  detail: Type.String({ description: 'what happened, and where' }),
  code: Type.String({ description: 'the stable error code, as in docs/reference/errors.md' }),
  hint: Type.Optional(Type.String({ description: 'what to do' })),
  instance: Type.Optional(Type.String({ description: 'the id of this request, as in the audit log' })),
  errors: Type.Optional(
    Type.Array(Type.Object({ field: Type.String({ description: 'path of the field, such as ports[0].port' }), message: Type.String() }), { description: 'every wrong field' }),
  ),
});
export type ProblemDocument = Static<typeof problemDocumentSchema>;

/** Codes whose status is not that of their class. */
const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  CONTROL_PLANE_STALE: 412, // RFC 9110 §13.1.1: If-Match that does not hold
  CONTROL_PLANE_KEY_REUSED: 422, // draft-ietf-httpapi-idempotency-key-header §2.7
  IDENTITY_WRITE_KEY: 422,
  API_BODY_TOO_LARGE: 413,
  API_METHOD_NOT_ALLOWED: 405,
  API_MEDIA_TYPE: 415,
};

/** The HTTP status of a failure. */
export function statusOf(error: { readonly code: string; readonly class: keyof typeof ERROR_CLASSES }): number {
  return STATUS_BY_CODE[error.code] ?? ERROR_CLASSES[error.class].http;
}

/** A failure as a problem document; what has no code tells nothing of itself. */
export function toProblemDocument(error: unknown, options: { readonly instance?: string; readonly problems?: readonly Problem[] } = {}): ProblemDocument {
  const known = error instanceof IsthmusError ? error : new IsthmusError('API_INTERNAL', 'internal', 'the request failed inside the server; its log says why');
  return {
    type: `urn:isthmus:problem:${known.code.toLowerCase().replaceAll('_', '-')}`,
    title: titleOf(known.code),
    status: statusOf(known),
    detail: known.message,
    code: known.code,
    ...(known.hint !== undefined && { hint: known.hint }),
    ...(options.instance !== undefined && { instance: options.instance }),
    ...(options.problems !== undefined && options.problems.length > 0 && { errors: options.problems.map((problem) => ({ field: fieldOf(problem), message: problem.message })) }),
  };
}

/** `CONTROL_PLANE_STALE` as `control plane stale`. */
function titleOf(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ');
}
