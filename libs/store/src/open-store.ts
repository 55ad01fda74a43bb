// The client of the cluster's own store.
import type { Store, StoreParts } from './store.ts';

export interface OpenStoreOptions extends StoreParts {
  /** `http://host:port` or `https://host:port`, one for each member of the etcd cluster. */
  readonly endpoints: readonly string[];
  /** PEM. `serverName` is the name looked for in the server's certificate; default: the host of the first endpoint, or `localhost` for an IP address. */
  readonly tls?: { readonly ca: string | Buffer; readonly cert: string | Buffer; readonly key: string | Buffer; readonly serverName?: string };
  readonly auth?: { readonly username: string; readonly password: string };
}

/** Opens a client of an etcd v3 store. It does not wait for the store to be there: the first call or watch finds out. */
export function openStore(_options: OpenStoreOptions): Promise<Store> {
  throw new Error('under construction');
}
