// The embedded store against the suite it shares with a real etcd.
import { conformance } from './conformance.ts';
import { openTestStore } from './testing.ts';

conformance('the embedded store', async () => {
  const { endpoint, close } = await openTestStore();
  return { endpoint, close };
});
