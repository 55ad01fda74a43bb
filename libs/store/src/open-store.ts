// The client of the cluster's own store.
import { StoreClient } from './client.ts';
import { type Etcd3Options, openEtcd3Link } from './etcd3-link.ts';
import type { Store, StoreParts } from './store.ts';

/**
 * `endpoints`: `http://host:port` or `https://host:port`, one for each member of the etcd cluster. `tls`: PEM; `serverName`
 * is the name looked for in the server's certificate, by default the host of the first endpoint, or `localhost` for an IP address.
 */
export interface OpenStoreOptions extends StoreParts, Etcd3Options {}

/** Opens a client of an etcd v3 store. It does not wait for the store to be there: the first call or watch finds out. */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  return new StoreClient(openEtcd3Link(options), options);
}
