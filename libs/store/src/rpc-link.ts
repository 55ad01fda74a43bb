// The generated etcd client over an open channel: what a peer's store is read through.
import type { RpcChannel } from '@isthmus/rpc';
import { Metadata } from './grpc.ts';
import { type GrpcDuplex, linkStream, type ReadLink } from './link.ts';
import { etcd } from './wire.ts';

/** Reads over a channel that stays its owner's. */
export function openRpcLink(channel: RpcChannel): ReadLink {
  const kv = channel.client(etcd.KVClient);
  const watch = channel.client(etcd.WatchClient);
  return {
    range: (request, deadlineMs) =>
      new Promise((resolve, reject) => {
        kv.range(request, new Metadata(), { deadline: deadlineMs }, (error, response) => (error === null ? resolve(response) : reject(error)));
      }),
    watch: () => Promise.resolve(linkStream(watch.watch() as unknown as GrpcDuplex<etcd.WatchRequest, etcd.WatchResponse>, same, same)),
    // The channel is its owner's to close.
    close: () => undefined,
  };
}

const same = <T>(message: T): T => message;
