// The etcd API as the client needs it, whoever carries it: etcd3 to our own store, a gateway's channel to a peer's.
import { messageOf } from '@isthmus/model';
import { status } from './grpc.ts';
import type { etcd } from './wire.ts';

/** A stream both ways. A class of @grpc/grpc-js underneath, with only what is used of it. */
export interface LinkStream<Q, R> {
  write(message: Q): void;
  cancel(): void;
  /** At most one of each; `onEnd` is called once, whatever ended it. */
  listen(handlers: { readonly onMessage: (message: R) => void; readonly onEnd: (fault: Fault) => void }): void;
  pause(): void;
  resume(): void;
}

/** Reads and watches: all that a peer's store offers. Deadlines are Unix ms. Rejections go through `faultOf`. */
export interface ReadLink {
  range(request: etcd.RangeRequest, deadlineMs: number): Promise<etcd.RangeResponse>;
  watch(): Promise<LinkStream<etcd.WatchRequest, etcd.WatchResponse>>;
  close(): void;
}

export interface StoreLink extends ReadLink {
  put(request: etcd.PutRequest, deadlineMs: number): Promise<{ readonly revision: bigint }>;
  deleteRange(request: etcd.DeleteRangeRequest, deadlineMs: number): Promise<{ readonly deleted: bigint }>;
  txn(request: etcd.TxnRequest, deadlineMs: number): Promise<{ readonly succeeded: boolean; readonly revision: bigint }>;
  leaseGrant(ttlSeconds: bigint, deadlineMs: number): Promise<{ readonly id: bigint; readonly ttlSeconds: bigint }>;
  leaseRevoke(id: bigint, deadlineMs: number): Promise<void>;
  keepAlive(): Promise<LinkStream<{ readonly id: bigint }, { readonly id: bigint; readonly ttlSeconds: bigint }>>;
}

/** Why a call failed, in gRPC's words. */
export interface Fault {
  readonly code: number;
  readonly details: string;
}

/** Reads code and details out of a grpc-js error, or out of etcd3's, which keeps them only in its message ("14 UNAVAILABLE: …"). */
export function faultOf(error: unknown): Fault {
  const { code, details } = error as { readonly code?: unknown; readonly details?: unknown };
  const message = messageOf(error);
  if (typeof code === 'number') return { code, details: typeof details === 'string' ? details : message };
  const match = /(?:^|\s)(\d{1,2}) [A-Z_]+: ([\s\S]*)$/.exec(message);
  if (match !== null) return { code: Number(match[1]), details: match[2] ?? '' };
  return { code: status.UNKNOWN, details: message };
}

/** What a fault means for the request that met it. */
export type FaultKind =
  /** The request never left, or the server said it did nothing: it can be sent again. */
  | 'not-done'
  /** Nobody knows. */
  | 'unclear'
  | 'compacted'
  | 'future-revision'
  | 'lease-not-found'
  | 'no-space'
  | 'too-large'
  | 'denied'
  | 'refused';

/* Texts of grpc-js 1.14 for a call that had no connection yet, and of etcd for one it rejected before proposing it. */
const NEVER_SENT = /No connection established|Name resolution failed|Channel closed before call started|channel has been closed|Failed to start HTTP\/2 stream|Waiting for LB pick|waiting for name resolution/i;
const NOT_PROPOSED = /etcdserver: (no leader|too many requests|rpc not supported for learner|not capable)/;

export function faultKind({ code, details }: Fault): FaultKind {
  if (NEVER_SENT.test(details) || NOT_PROPOSED.test(details)) return 'not-done';
  switch (code) {
    case status.OUT_OF_RANGE:
      return /compacted/.test(details) ? 'compacted' : /future revision/.test(details) ? 'future-revision' : 'refused';
    case status.NOT_FOUND:
      return /lease not found/.test(details) ? 'lease-not-found' : 'refused';
    case status.RESOURCE_EXHAUSTED:
      return /larger than max/.test(details) ? 'too-large' : /space exceeded/.test(details) ? 'no-space' : 'unclear';
    case status.INVALID_ARGUMENT:
      return /too large|too many operations/.test(details) ? 'too-large' : 'refused';
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
      return 'denied';
    case status.FAILED_PRECONDITION:
    case status.UNIMPLEMENTED:
    case status.ALREADY_EXISTS:
      return 'refused';
    default:
      return 'unclear';
  }
}

/** A grpc-js duplex stream with its messages translated on the way; it never throws and never ends the process, it ends once. */
export function linkStream<Q, R, WQ, WR>(
  call: GrpcDuplex<WQ, WR>,
  toWire: (message: Q) => WQ,
  fromWire: (message: WR) => R,
): LinkStream<Q, R> {
  let handlers: { readonly onMessage: (message: R) => void; readonly onEnd: (fault: Fault) => void } | undefined;
  let ended: Fault | undefined;
  const end = (fault: Fault): void => {
    if (ended !== undefined) return;
    ended = fault;
    handlers?.onEnd(fault);
  };
  // A stream without an error listener would end the process; it may fail before anybody listens.
  call.on('error', (error: unknown) => end(faultOf(error)));
  call.on('end', () => end({ code: status.UNAVAILABLE, details: 'the stream was ended' }));
  return {
    write: (message) => {
      if (ended === undefined) call.write(toWire(message));
    },
    cancel: () => {
      call.cancel();
      end({ code: status.CANCELLED, details: 'cancelled here' });
    },
    listen: (given) => {
      handlers = given;
      if (ended !== undefined) {
        given.onEnd(ended);
        return;
      }
      call.on('data', (message: WR) => {
        if (ended === undefined) given.onMessage(fromWire(message));
      });
    },
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
}

/** The part of grpc-js's ClientDuplexStream that is used. */
export interface GrpcDuplex<Q, R> {
  write(message: Q): unknown;
  cancel(): void;
  pause(): unknown;
  resume(): unknown;
  on(event: 'data', fn: (message: R) => void): unknown;
  on(event: 'end', fn: () => void): unknown;
  on(event: 'error', fn: (error: unknown) => void): unknown;
}
