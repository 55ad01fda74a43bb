// One attempt at one request: sends it, streams the answer back, and says how it ended and whether anything was sent.
import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Clock, Dispatcher } from '@isthmus/runtime';
import { endToEnd, UNPROCESSED_HEADER, valuesOf } from './headers.ts';

export type ForwardOptions = {
  /** An undici pool or client of the one endpoint this attempt is for. */
  readonly to: Dispatcher;
  readonly method: string;
  readonly path: string;
  readonly headers: string[];
  readonly body: Readable | undefined;
  readonly response: ServerResponse;
  /** Until the response's head; 0 for none. */
  readonly limitMs: number;
  /** Between two pieces of the response body; 0 for none. */
  readonly idleMs: number;
  /** Whether the other end is a mesh peer, whose x-isthmus-unprocessed may be believed. */
  readonly meshPeer: boolean;
  readonly clock: Clock;
  /** Called before the response's head is written: the last moment to change headers. */
  readonly beforeHead?: (headers: string[]) => void;
};

/**
 * How an attempt ended. `not-sent`: no byte of the request left; `unprocessed`: a mesh peer says its application never
 * got it; `failed`: it was sent and no answer began; `broken`: the answer began and was cut off, and so was the caller.
 */
export type ForwardOutcome =
  | { readonly kind: 'done'; readonly status: number }
  | { readonly kind: 'not-sent' | 'failed' | 'broken' | 'invalid'; readonly error: Error }
  | { readonly kind: 'unprocessed' | 'timeout' | 'caller-gone' };

const MAX_DISCARDED_BYTES = 65_536;
const INVALID_CODES: ReadonlySet<string> = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH']);
const TIME_LIMIT = new Error('no answer within the time limit');
const CALLER_GONE = new Error('the caller went away');

/** Forwards one request and streams its response, back-pressure both ways. Never throws. */
export function forwardRequest(options: ForwardOptions): Promise<ForwardOutcome> {
  const { response, clock } = options;
  return new Promise<ForwardOutcome>((resolve) => {
    let controller: Dispatcher.DispatchController | undefined;
    let givenUp: Error | undefined;
    let answerBegan = false;
    let status = 0;
    // Set when the peer itself reports that it could not get an answer: its body is not for the caller.
    let peerVerdict: ForwardOutcome | undefined;
    let discardedBytes = 0;

    const timer = options.limitMs > 0 ? clock.setTimer(options.limitMs, () => giveUp(TIME_LIMIT)) : undefined;
    const onClose = (): void => {
      if (!response.writableFinished) giveUp(CALLER_GONE);
    };
    const onDrain = (): void => controller?.resume();
    response.on('close', onClose);
    response.on('drain', onDrain);

    const settle = (outcome: ForwardOutcome): void => {
      timer?.cancel();
      response.off('close', onClose);
      response.off('drain', onDrain);
      resolve(outcome);
    };
    const giveUp = (why: Error): void => {
      givenUp = why;
      if (controller !== undefined) controller.abort(why);
      else settle(why === CALLER_GONE ? { kind: 'caller-gone' } : { kind: 'timeout' });
    };

    options.to.dispatch(
      {
        method: options.method as Dispatcher.HttpMethod,
        path: options.path,
        headers: options.headers,
        body: options.body ?? null,
        headersTimeout: 0,
        bodyTimeout: options.idleMs,
      },
      {
        onRequestStart(c) {
          controller = c;
          if (givenUp !== undefined) c.abort(givenUp);
        },
        onResponseStart(c, statusCode, _headers, statusMessage) {
          if (statusCode < 200) return; // interim; node:http has sent its own 100 where asked
          timer?.cancel();
          status = statusCode;
          const raw = rawHeadersOf(c);
          const [unprocessed] = options.meshPeer && statusCode === 503 ? valuesOf(raw, UNPROCESSED_HEADER) : [];
          if (unprocessed !== undefined) {
            peerVerdict = unprocessed === '1' ? { kind: 'unprocessed' } : { kind: 'failed', error: new Error('the application closed the connection before it answered') };
            return;
          }
          answerBegan = true;
          const headers = endToEnd(raw);
          options.beforeHead?.(headers);
          response.writeHead(statusCode, statusMessage ?? '', headers);
          response.flushHeaders();
        },
        onResponseData(c, chunk) {
          if (peerVerdict !== undefined) {
            discardedBytes += chunk.length;
            if (discardedBytes > MAX_DISCARDED_BYTES) c.abort(new Error('an error report is too long'));
            return;
          }
          if (!response.write(chunk)) c.pause();
        },
        onResponseEnd(_c, trailers) {
          if (peerVerdict !== undefined) return settle(peerVerdict);
          const names = Object.keys(trailers);
          if (names.length > 0) response.addTrailers(trailers as Record<string, string>);
          response.end();
          settle({ kind: 'done', status });
        },
        onResponseError(_c, error) {
          if (givenUp === CALLER_GONE) return settle({ kind: 'caller-gone' });
          if (answerBegan) {
            abortCaller(response);
            return settle({ kind: 'broken', error });
          }
          if (givenUp === TIME_LIMIT) return settle({ kind: 'timeout' });
          if (peerVerdict !== undefined) return settle(peerVerdict);
          if ('code' in error && typeof error.code === 'string' && INVALID_CODES.has(error.code)) return settle({ kind: 'invalid', error });
          settle({ kind: controller === undefined ? 'not-sent' : 'failed', error });
        },
      },
    );
  });
}

/** Ends the caller's connection so that half an answer cannot pass for a whole one (reliability row 56). */
function abortCaller(response: ServerResponse): void {
  const socket = response.socket;
  response.destroy();
  socket?.destroy();
}

function rawHeadersOf(controller: Dispatcher.DispatchController): string[] {
  const raw = controller.rawHeaders;
  if (!Array.isArray(raw)) return [];
  return raw.map((part: Buffer | string) => (typeof part === 'string' ? part : part.toString('latin1')));
}
