// The read-only door to this cluster's store for peers.
import type { SpiffeId } from '@isthmus/model';
import type { OpenStoreOptions } from './open-store.ts';

export interface ServeSharedOptions extends OpenStoreOptions {
  /** Which peer cluster a caller speaks for; undefined refuses it. */
  readonly authorize: (caller: SpiffeId) => { readonly cluster: string } | undefined;
  /** Watches one peer may hold at once. 16. */
  readonly maxWatchesPerPeer?: number;
}

export function serveShared(_options: ServeSharedOptions): { readonly services: readonly { definition: object; implementation: object }[]; close(): Promise<void> } {
  throw new Error('under construction');
}
