// Points at which decisions about single requests hook in. None is set by default, and an unset one costs one comparison.
import type { RetryQuestion, RetryVerdict } from '@isthmus/decide';
import type { ServiceName } from '@isthmus/model';
import type { Peer } from '../tls/judge.ts';
import type { OwnAnswer } from './answer.ts';
import type { RequestHead } from './exchange.ts';

/** What a hook says of a request: `undefined` lets it pass, an answer ends it here. */
export type Verdict = OwnAnswer | undefined;

/** Inbound: asked in this order, before anything is sent to the application. They are called often and must not block. */
export type InboundHooks = {
  /** May this proven peer make this request (reliability 51)? */
  readonly authorize?: (request: RequestHead, peer: Peer) => Verdict;
  /** Is there room for it? */
  readonly limit?: (request: RequestHead, peer: Peer) => Verdict;
};

/** Where a request goes instead of the listener's own service, and what it says there. */
export type Rerouting = { readonly service?: ServiceName; readonly port?: string; readonly head?: RequestHead };

/** Outbound: asked in this order, before an endpoint is picked. */
export type OutboundHooks = {
  /** `peer`: who calls, where that is a mesh peer that has proven itself. */
  readonly limit?: (request: RequestHead, peer: Peer | undefined) => Verdict;
  readonly route?: (request: RequestHead) => { readonly kind: 'forward'; readonly to: Rerouting } | { readonly kind: 'answer'; readonly answer: OwnAnswer } | undefined;
  /** In the place of decide's mayRetry. */
  readonly retry?: (question: RetryQuestion) => RetryVerdict;
};

/** What no proxy passes on: a target that names no path (`*`, the authority of CONNECT), another upgrade than WebSocket. */
export function refusalOfForm(head: RequestHead): Verdict {
  if (head.target.charCodeAt(0) !== 0x2f) return { status: 400, text: 'the request target names no path' };
  if (head.upgrade !== undefined && head.upgrade !== 'websocket') return { status: 501, text: 'no other protocol than WebSocket is switched to' };
  return undefined;
}
