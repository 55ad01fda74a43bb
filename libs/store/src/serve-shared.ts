// The read-only door to this cluster's store: etcd's own Range and Watch, for peers, inside the keys they may read.
import type { SpiffeId } from '@isthmus/model';
import { callerOf } from '@isthmus/rpc';
import { openEtcd3Link } from './etcd3-link.ts';
import type { handleUnaryCall, ServerDuplexStream } from './grpc.ts';
import { Metadata, status } from './grpc.ts';
import { DEFAULT_PREFIX, isInside, type KeyRange, peerRanges } from './keys.ts';
import { faultOf, type LinkStream } from './link.ts';
import type { OpenStoreOptions } from './open-store.ts';
import { etcd } from './wire.ts';

export interface ServeSharedOptions extends OpenStoreOptions {
  /** Which peer cluster a caller speaks for; undefined refuses it. */
  readonly authorize: (caller: SpiffeId) => { readonly cluster: string } | undefined;
  /** Watches one peer may hold at once, over all its streams, and streams as well. 16. */
  readonly maxWatchesPerPeer?: number;
}

export interface SharedDoor {
  readonly services: readonly { readonly definition: object; readonly implementation: object }[];
  close(): Promise<void>;
}

const CALL_LIMIT_MS = 5_000;
const MAX_PAGE_KEYS = 200;
const MAX_WATCHES = 16;

/**
 * Serves KV and Watch for peers: reading is allowed inside `peerRanges` of the caller's cluster, everything else is
 * PERMISSION_DENIED, every write among it. Nothing is filtered by content (decision 0002). A caller is judged again with
 * everything that is sent to it, so a cluster that is no member any more is cut off. **Bounds** 200 keys a page,
 * `maxWatchesPerPeer` watches and as many streams a peer; a slow peer stops the reading of its own stream only.
 */
export function serveShared(options: ServeSharedOptions): SharedDoor {
  const link = openEtcd3Link(options);
  const storePrefix = options.prefix ?? DEFAULT_PREFIX;
  const maxWatches = options.maxWatchesPerPeer ?? MAX_WATCHES;
  const refusals = options.metrics.counter('isthmus_store_door_refused_total', 'Requests of peers that were refused at the read-only door', ['reason']);
  const open = new Set<ServerDuplexStream<etcd.WatchRequest, etcd.WatchResponse>>();

  const held = new Map<string, number>();
  /** Counts a stream or a watch of a peer, or refuses the one too many. */
  const hold = (what: string, by: 1 | -1): boolean => {
    const count = (held.get(what) ?? 0) + by;
    if (count > maxWatches) return false;
    if (count <= 0) held.delete(what);
    else held.set(what, count);
    return true;
  };

  const peerOf = (call: { getPeer(): string }): string | undefined => {
    const caller = callerOf(call);
    return caller && options.authorize(caller.spiffeId)?.cluster;
  };
  const denied = (reason: 'no-peer' | 'outside' | 'write') => {
    refusals.inc({ reason });
    return fault(status.PERMISSION_DENIED, reason === 'no-peer' ? 'isthmus: only the control plane of a member cluster may read here' : 'isthmus: permission denied');
  };
  const mayRead = (call: { getPeer(): string }, range: KeyRange): Error | undefined => {
    const peer = peerOf(call);
    if (peer === undefined) return denied('no-peer');
    return peerRanges(storePrefix, peer).some((r) => isInside(range, r)) ? undefined : denied('outside');
  };

  const range: handleUnaryCall<etcd.RangeRequest, etcd.RangeResponse> = (call, done) => {
    const { request } = call;
    const refused = mayRead(call, request);
    if (refused !== undefined) return void done(refused);
    const limit = request.limit > 0n && request.limit < MAX_PAGE_KEYS ? request.limit : BigInt(MAX_PAGE_KEYS);
    link.range({ ...request, limit }, options.clock.nowMs() + CALL_LIMIT_MS).then(
      (response) => done(null, response),
      (error: unknown) => done(toFault(error)),
    );
  };
  const noWrite: handleUnaryCall<object, never> = (_call, done) => done(denied('write'));

  const watch = (call: ServerDuplexStream<etcd.WatchRequest, etcd.WatchResponse>): void => {
    let upstream: LinkStream<etcd.WatchRequest, etcd.WatchResponse> | undefined;
    let watches = 0;
    let over = false;
    const peer = peerOf(call);
    const refuse = (error: Error): void => {
      call.emit('error', error);
    };
    if (peer === undefined) return refuse(denied('no-peer'));
    if (!hold(`streams ${peer}`, 1)) return refuse(fault(status.RESOURCE_EXHAUSTED, `isthmus: more than ${maxWatches} watch streams`));
    open.add(call);
    const end = (error?: Error): void => {
      if (over) return;
      over = true;
      open.delete(call);
      hold(`streams ${peer}`, -1);
      for (; watches > 0; watches--) hold(`watches ${peer}`, -1);
      upstream?.cancel();
      if (error === undefined) call.end();
      else refuse(error);
    };
    const waiting: etcd.WatchRequest[] = [];
    const send = (message: etcd.WatchRequest): void => {
      if (upstream !== undefined) upstream.write(message);
      else if (waiting.length < maxWatches * 2) waiting.push(message);
      else end(fault(status.RESOURCE_EXHAUSTED, 'isthmus: too many requests on one watch stream'));
    };
    call.on('data', (message: etcd.WatchRequest) => {
      if (message.requestUnion?.$case === 'createRequest') {
        const refused = mayRead(call, message.requestUnion.value);
        if (refused !== undefined) return end(refused);
        if (!hold(`watches ${peer}`, 1)) return end(fault(status.RESOURCE_EXHAUSTED, `isthmus: more than ${maxWatches} watches`));
        watches += 1;
      }
      send(message);
    });
    call.on('end', () => end());
    call.on('cancelled', () => end());
    call.on('error', () => end());
    link.watch().then(
      (stream) => {
        if (over) return stream.cancel();
        upstream = stream;
        stream.listen({
          onMessage: (response) => {
            if (peerOf(call) !== peer) return end(denied('no-peer'));
            if (response.canceled && watches > 0) {
              watches -= 1;
              hold(`watches ${peer}`, -1);
            }
            if (!call.write(response)) {
              stream.pause();
              call.once('drain', () => stream.resume());
            }
          },
          onEnd: ({ code, details }) => end(fault(code, details)),
        });
        for (const message of waiting.splice(0)) stream.write(message);
      },
      (error: unknown) => end(toFault(error)),
    );
  };

  return {
    services: [
      { definition: etcd.KVService, implementation: { range, put: noWrite, deleteRange: noWrite, txn: noWrite, compact: noWrite } },
      { definition: etcd.WatchService, implementation: { watch } },
    ],
    close: async () => {
      for (const call of open) call.end();
      link.close();
    },
  };
}

function toFault(error: unknown): Error {
  const { code, details } = faultOf(error);
  return fault(code, details);
}

function fault(code: number, details: string) {
  return Object.assign(new Error(details), { code: code as status, details, metadata: new Metadata() });
}
