// The cluster store: an etcd v3 client whose watch never lies, an embedded etcd v3 server, and the read-only door for peers.
export { type HeldFormat, holdFormat, STORE_FORMAT } from './format.ts';
export { DEFAULT_PREFIX, keys, type KeyRange, peerRanges } from './keys.ts';
export { openStore, type OpenStoreOptions } from './open-store.ts';
export { openPeerStore } from './peer-store.ts';
export { serveShared, type ServeSharedOptions } from './serve-shared.ts';
export { type EmbeddedStore, type EmbeddedStoreOptions, startEmbeddedStore } from './embedded/server.ts';
export { makeStoreTls, type StoreTlsFiles } from './store-tls.ts';
export type {
  Lease,
  PeerStore,
  Store,
  StoreCompare,
  StoreEntry,
  StoreLimits,
  StoreList,
  StoreParts,
  StoreTimes,
  StoreTxn,
  StoreValue,
  StoreWrite,
  WatchEvent,
  WatchOptions,
} from './store.ts';
