// The client of another cluster's shared keys, over a channel that is already open and authenticated.
import type { RpcChannel } from '@isthmus/rpc';
import { ReadClient } from './client.ts';
import { openRpcLink } from './rpc-link.ts';
import type { PeerStore, StoreParts } from './store.ts';

/** Keys a peer may make us hold; its door pages at most 200. */
const MAX_PEER_KEYS = 10_000;
/** A signed digest is a few KiB; nothing a peer has to say needs more. */
const MAX_PEER_VALUE_BYTES = 64 * 1024;

/**
 * Reads another cluster's `shared/` keys through its gateway. The channel stays the caller's: `close` ends only watches.
 * **Bounds** 10,000 keys and 64 KiB a value unless `limits` says otherwise; what is over them is skipped and counted.
 */
export function openPeerStore(channel: RpcChannel, parts: StoreParts): PeerStore {
  const limits = { maxValueBytes: MAX_PEER_VALUE_BYTES, pageKeys: 200, ...parts.limits };
  return new ReadClient(openRpcLink(channel), { ...parts, limits }, { maxKeys: MAX_PEER_KEYS });
}
