// Coded failures over gRPC: the code and class travel in metadata, so both sides speak of the same error.
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ERROR_CLASSES, type ErrorClass, IsthmusError, messageOf } from '@isthmus/model';
import { fail } from './errors.ts';

const CODE = 'isthmus-code';
const CLASS = 'isthmus-class';
const HINT = 'isthmus-hint';
/** Milliseconds a caller should wait before it tries again: the fact `retryAfterMs` of an error. */
const RETRY_AFTER = 'isthmus-retry-after-ms';

/** What a handler throws, as a gRPC status. Anything without a code becomes RPC_INTERNAL and tells nothing of itself. */
export function toServiceError(error: unknown): ServiceError {
  const known = error instanceof IsthmusError ? error : fail('RPC_INTERNAL', 'the call failed inside the server; its log says why');
  const metadata = new Metadata();
  metadata.set(CODE, known.code);
  metadata.set(CLASS, known.class);
  if (known.hint !== undefined) metadata.set(`${HINT}-bin`, Buffer.from(known.hint));
  const { retryAfterMs } = known.facts;
  if (typeof retryAfterMs === 'number') metadata.set(RETRY_AFTER, String(Math.round(retryAfterMs)));
  return Object.assign(new Error(known.message), { code: ERROR_CLASSES[known.class].grpc as status, details: known.message, metadata });
}

/** A gRPC failure as an IsthmusError: the server's own where it sent one, else RPC_UNAVAILABLE, RPC_TIMEOUT or RPC_REFUSED. */
export function fromServiceError(error: unknown): IsthmusError {
  if (error instanceof IsthmusError) return error;
  if (!isServiceError(error)) return fail('RPC_UNAVAILABLE', messageOf(error), { cause: error });
  const code = textOf(error.metadata, CODE);
  const errorClass = textOf(error.metadata, CLASS);
  if (code !== undefined && isErrorClass(errorClass)) {
    const hint = error.metadata.get(`${HINT}-bin`)[0]?.toString();
    const retryAfterMs = Number(textOf(error.metadata, RETRY_AFTER) ?? Number.NaN);
    const facts = Number.isSafeInteger(retryAfterMs) && retryAfterMs >= 0 ? { retryAfterMs } : {};
    return new IsthmusError(code, errorClass, error.details, { cause: error, facts, ...(hint !== undefined && { hint }) });
  }
  const facts = { status: status[error.code] ?? error.code };
  // The handshake ends before there is a call that could carry a code, so only the text tells.
  const wrongServer = /the server is spiffe:\/\/\S+, not spiffe:\/\/[^\s.]\S*[^\s.]/.exec(error.details)?.[0];
  if (wrongServer !== undefined) return fail('RPC_WRONG_SERVER', wrongServer, { cause: error, facts, hint: 'check the address: this token or configuration is for another cluster' });
  if (error.code === status.UNAVAILABLE || error.code === status.CANCELLED) return fail('RPC_UNAVAILABLE', error.details, { cause: error, facts });
  if (error.code === status.DEADLINE_EXCEEDED) return fail('RPC_TIMEOUT', error.details, { cause: error, facts });
  return fail('RPC_REFUSED', error.details, { cause: error, facts });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error && error.metadata instanceof Metadata;
}

function textOf(metadata: Metadata, key: string): string | undefined {
  const [value] = metadata.get(key);
  return typeof value === 'string' ? value : undefined;
}

function isErrorClass(text: string | undefined): text is ErrorClass {
  return text !== undefined && Object.hasOwn(ERROR_CLASSES, text);
}
