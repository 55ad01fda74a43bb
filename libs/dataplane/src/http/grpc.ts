// What gRPC says in HTTP/2's words: which requests are calls, their deadlines, and a status told without a message.
import type { HeaderList } from './exchange.ts';
import { valueOfField } from './headers.ts';

/** Status codes of gRPC that a proxy gives. Source: grpc/doc/statuscodes.md. */
export const GRPC_STATUS = {
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

const CALL = 'application/grpc';

/** Whether a message is a gRPC call: `application/grpc`, alone or with a suffix such as `+proto`; not gRPC-Web. */
export function isGrpc(headers: HeaderList): boolean {
  const type = valueOfField(headers, 'content-type');
  if (type === undefined || !type.startsWith(CALL)) return false;
  const next = type[CALL.length];
  return next === undefined || next === '+' || next === ';' || next === ' ';
}

/** The gRPC status for an answer of our own that is `status` in HTTP. Source: grpc/doc/http-grpc-status-mapping.md. */
export function grpcStatusOf(status: number): number {
  switch (status) {
    case 400:
    case 508:
      return GRPC_STATUS.internal;
    case 401:
      return GRPC_STATUS.unauthenticated;
    case 403:
    case 421:
      return GRPC_STATUS.permissionDenied;
    case 404:
    case 501:
      return GRPC_STATUS.unimplemented;
    case 413:
    case 431:
      return GRPC_STATUS.resourceExhausted;
    case 429:
    case 502:
    case 503:
      return GRPC_STATUS.unavailable;
    case 504:
      return GRPC_STATUS.deadlineExceeded;
    default:
      return GRPC_STATUS.unknown;
  }
}

/** The fields that end a call: as trailers, or as the whole answer behind a content type (trailers-only). */
export function grpcTrailers(status: number, message: string): string[] {
  return ['grpc-status', String(status), 'grpc-message', percentEncoded(message)];
}

/** Printable ASCII but `%`; the rest as %XX of UTF-8. Source: grpc/doc/PROTOCOL-HTTP2.md, Status-Message. */
function percentEncoded(message: string): string {
  return message.replace(/[^\x20-\x24\x26-\x7e]/gu, (c) => [...Buffer.from(c)].map((b) => `%${b.toString(16).toUpperCase().padStart(2, '0')}`).join(''));
}

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** `grpc-timeout` in milliseconds; undefined where it is missing or has not the form of at most eight digits and a unit. */
export function grpcTimeoutMs(headers: HeaderList): number | undefined {
  const value = valueOfField(headers, 'grpc-timeout');
  if (value === undefined) return undefined;
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  return match === null ? undefined : Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/** A time left as `grpc-timeout`, rounded down to the finest unit that eight digits hold; never longer than it is. */
export function formatGrpcTimeout(leftMs: number): string {
  const left = Math.max(0, leftMs);
  if (left * 1e3 < 1e8) return `${Math.floor(left * 1e3)}u`;
  if (left < 1e8) return `${Math.floor(left)}m`;
  return `${Math.min(99_999_999, Math.floor(left / 1e3))}S`;
}

/** The same fields with another `grpc-timeout`. */
export function withGrpcTimeout(headers: string[], leftMs: number): void {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === 'grpc-timeout') headers[i + 1] = formatGrpcTimeout(leftMs);
}
