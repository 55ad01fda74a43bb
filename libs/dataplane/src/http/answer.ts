// Isthmus' own answers: short, plain, with the reason as a response flag; a gRPC call gets them in gRPC's words.
import type { RequestHead, ServerExchange } from './exchange.ts';
import { grpcStatusOf, grpcTrailers } from './grpc.ts';
import { REASON_HEADER } from './headers.ts';

export type OwnAnswer = {
  readonly status: number;
  /** A response flag of the field (UH, UF, UC, UT, UO). */
  readonly reason?: string;
  readonly text: string;
  /** More fields: lower-case names. */
  readonly extra?: readonly string[];
};

/** Answers an exchange that nothing was answered to yet. Source for gRPC: trailers-only, grpc/doc/PROTOCOL-HTTP2.md. */
export function answer(exchange: ServerExchange, request: Pick<RequestHead, 'method'>, own: OwnAnswer, isCall: boolean): void {
  const { status, reason, text, extra = [] } = own;
  const message = `isthmus: ${text}${reason === undefined ? '' : ` (${reason})`}`;
  const why = reason === undefined ? [] : [REASON_HEADER, reason];
  if (isCall) {
    const headers = ['content-type', 'application/grpc', ...grpcTrailers(grpcStatusOf(status), message), ...why, ...extra];
    return exchange.respond({ status: 200, headers, bodyBytes: 0 }, true);
  }
  const body = Buffer.from(`${message}\n`);
  exchange.respond({ status, headers: ['content-type', 'text/plain; charset=utf-8', ...why, ...extra], bodyBytes: body.length }, request.method === 'HEAD');
  if (request.method === 'HEAD') return;
  exchange.write(body);
  exchange.end();
}
