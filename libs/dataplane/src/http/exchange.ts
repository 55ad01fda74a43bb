// One request and its response, whichever version of HTTP carries it on each side: the seam between codecs and proxy.

/** Header fields in wire order, flat: name, value, name, value. Latin-1 strings; names lower-case. No pseudo-header, no host. */
export type HeaderList = readonly string[];

/** A request after strict parsing. What framing there was is in `body`; hop-by-hop fields are gone. */
export type RequestHead = {
  readonly method: string;
  /** Origin form, or `*`, or host:port for CONNECT. */
  readonly target: string;
  /** What Host or :authority said. */
  readonly authority: string;
  readonly scheme: 'http' | 'https';
  readonly headers: HeaderList;
  /** Bytes of the body where they are known, `undefined` for a stream of unknown length; 0: none follows. */
  readonly bodyBytes: number | undefined;
  /** HTTP/1.1 `Upgrade` (such as `websocket`) or the `:protocol` of extended CONNECT. */
  readonly upgrade?: string;
  /** The caller waits for 100 Continue before it sends its body. */
  readonly expectsContinue: boolean;
};

/** A response after strict parsing; 1xx ones come as informational heads before it. */
export type ResponseHead = {
  readonly status: number;
  readonly headers: HeaderList;
  /** As in `RequestHead`. */
  readonly bodyBytes: number | undefined;
};

/**
 * Why a message ended before its end. `unprocessed`: the other end proves that it never acted on it (GOAWAY's last id,
 * REFUSED_STREAM), `not-sent`: not one byte of it left here. Both may be sent again whatever the method.
 */
export type AbortReason = 'not-sent' | 'unprocessed' | 'reset' | 'closed' | 'protocol' | 'too-large' | 'timeout' | 'cancelled' | 'overloaded';

export type Abort = { readonly reason: AbortReason; readonly detail: string };

/** Takes a message's body. Calls are synchronous and in order; `chunk` is good during the call: to keep it, take `kept(chunk)`. Exactly one of `end`/`abort` comes last. */
export interface BodySink {
  data(chunk: Buffer): void;
  end(trailers: HeaderList | undefined): void;
  abort(why: Abort): void;
}

/** The way back from a taker to the body's source. What was read already may still come after `pauseBody`: at most one read. */
export interface BodyFlow {
  pauseBody(): void;
  resumeBody(): void;
}

/** Sends a message's body. After `end` or `abort` nothing more may be called; a call too late is ignored. */
export interface BodyWriter {
  /** False: hold back until `onDrain`. The bytes are taken either way; what must wait is copied where `chunk` is lent. */
  write(chunk: Buffer): boolean;
  end(trailers?: HeaderList): void;
}

/** A server's end of one exchange. */
export interface ServerExchange extends BodyFlow, BodyWriter {
  /** Who is at the other end of the connection: what the owner gave when it took the connection. */
  readonly peer: unknown;
  /** Where the request's body goes; held back until this is called. Call it at most once. */
  receive(sink: BodySink): void;
  /** A 1xx, any number of times before `respond`. 101 only by `switchProtocols`. */
  inform(head: ResponseHead): void;
  /** The response's head, once. With `endsNow` there is no body and no `end` follows. */
  respond(head: ResponseHead, endsNow: boolean): void;
  /** Answers 101 (HTTP/1.1) or 200 (extended CONNECT); from then on `receive` and `write` carry the other protocol's bytes. */
  switchProtocols(head: ResponseHead): void;
  /** Cuts the exchange off: HTTP/1.1 resets the connection once a response began, HTTP/2 resets the stream. */
  abort(why: Abort): void;
  /** May write again. */
  onDrain: (() => void) | undefined;
  /** The caller went away before the response had ended. Called at most once, never after the response ended. */
  onAbort: ((why: Abort) => void) | undefined;
}

/** Takes a response. `response` comes once, before any `data`; `inform` any number of times before that. */
export interface ResponseSink extends BodySink {
  inform(head: ResponseHead): void;
  response(head: ResponseHead, endsNow: boolean): void;
  /** The other end agreed to switch: `data` now carries the other protocol's bytes, and `write` sends them. */
  switched(head: ResponseHead): void;
  /** The request's writer may write again. */
  drain(): void;
}

/** A client's end of one exchange. */
export interface ClientExchange extends BodyFlow, BodyWriter {
  /** Gives up: HTTP/1.1 closes the connection, HTTP/2 resets the stream. The sink hears nothing more. */
  abort(why: Abort): void;
}

/** A connection that takes requests: one at a time in HTTP/1.1, as many as the peer allows in HTTP/2. */
export interface ClientConnection {
  readonly version: '1.1' | '2';
  /** How many more requests it takes right now; 0 while it drains or is closed. */
  readonly free: number;
  /** Requests in flight. */
  readonly active: number;
  /** Sends a request's head. With `endsNow` it has no body. Only while `free > 0`. */
  request(head: RequestHead, endsNow: boolean, sink: ResponseSink): ClientExchange;
  /** Takes no new requests; closes when those in flight have ended. */
  drain(): void;
  destroy(): void;
  /** `free` grew: a request ended, or the peer allows more. */
  onFree: (() => void) | undefined;
  onClose: (() => void) | undefined;
}

/** A connection that requests come in on. */
export interface ServerConnection {
  readonly version: '1.1' | '2';
  readonly active: number;
  /** Takes no new requests (`Connection: close`, GOAWAY); closes when those in flight have ended. */
  drain(): void;
  destroy(): void;
  onClose: (() => void) | undefined;
}

/** Limits of a codec; each is counted and named when it is met. */
export type HttpLimits = {
  /** From the first byte of a head to its last (slowloris). */
  readonly headMs: number;
  /** Between two requests on one connection. */
  readonly keepAliveMs: number;
  /** No byte of a body moved either way for so long. */
  readonly idleMs: number;
  /** One head or trailer section, all fields together, after decompression. */
  readonly headerBytes: number;
  readonly headerCount: number;
  readonly targetBytes: number;
  /** HTTP/2: streams at once that the peer may open. */
  readonly streams: number;
  /** Bytes buffered for one exchange in one direction before its source is held back. */
  readonly bufferBytes: number;
};

export const HTTP_LIMITS: HttpLimits = {
  headMs: 10_000,
  keepAliveMs: 60_000,
  idleMs: 3_600_000,
  headerBytes: 65_536,
  headerCount: 200,
  targetBytes: 16_384,
  streams: 256,
  bufferBytes: 262_144,
};

/** What a server connection asks of its owner. `onRefused`: the codec answered or closed by itself; `code` is from a closed set. */
export type ServerHandlers = {
  readonly onRequest: (head: RequestHead, exchange: ServerExchange) => void;
  readonly onRefused: (code: string, detail: string) => void;
};
