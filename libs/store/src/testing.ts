// A throw-away embedded store with a client, for tests of whatever stands on the store.
import type { Store } from './store.ts';

export function openTestStore(): Promise<{ readonly store: Store; readonly endpoint: string; close(): Promise<void> }> {
  throw new Error('under construction');
}
