// The client of another cluster's shared keys, over a channel that is already open and authenticated.
import type { RpcChannel } from '@isthmus/rpc';
import type { PeerStore, StoreParts } from './store.ts';

/** Reads another cluster's `shared/` keys through its gateway. The channel stays the caller's: `close` ends only watches. */
export function openPeerStore(_channel: RpcChannel, _parts: StoreParts): PeerStore {
  throw new Error('under construction');
}
