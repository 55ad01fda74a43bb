// etcd's messages as the store uses them, in one place.
import { etcd } from '@isthmus/rpc';

export { etcd };
export type KeyValue = etcd.RangeResponse['kvs'][number];
export type WireEvent = etcd.WatchResponse['events'][number];
export type RequestOp = etcd.RequestOp;
export type ResponseOp = etcd.ResponseOp;

/** mvccpb.Event.EventType. */
export const EVENT_PUT = 0;
export const EVENT_DELETE = 1;

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** A range request with etcd's defaults: linearizable, newest revision, no limit, by key. */
export function rangeRequest(over: Partial<etcd.RangeRequest> & { readonly key: Buffer }): etcd.RangeRequest {
  return {
    rangeEnd: NO_BYTES,
    limit: 0n,
    revision: 0n,
    sortOrder: 0,
    sortTarget: 0,
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0n,
    maxModRevision: 0n,
    minCreateRevision: 0n,
    maxCreateRevision: 0n,
    ...over,
  };
}

export function putRequest(over: Partial<etcd.PutRequest> & { readonly key: Buffer }): etcd.PutRequest {
  return { value: NO_BYTES, lease: 0n, prevKv: false, ignoreValue: false, ignoreLease: false, ...over };
}

export function watchCreateRequest(over: Partial<etcd.WatchCreateRequest> & { readonly key: Buffer }): etcd.WatchCreateRequest {
  return { rangeEnd: NO_BYTES, startRevision: 0n, progressNotify: false, filters: [], prevKv: false, watchId: 0n, fragment: false, ...over };
}
