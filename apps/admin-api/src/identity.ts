// The admin API's own SVID and the federation's bundles: from the control plane's socket, kept fresh.
import { type Bundle, formatProblems, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { bundleFromWire, keepFresh } from '@isthmus/identity';
import { type BundleSource, generateKey, makeCsr, makeX509Svid, openBundleSet, type SvidSource, type X509Svid } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { messageOf } from '@isthmus/model';
import type { ControlPlane } from './control-plane.ts';

export type ApiIdentity = { readonly spiffeId: SpiffeId; readonly svids: SvidSource; readonly bundles: BundleSource; close(): Promise<void> };

/** Bundles are asked for this often where their watch is cut off. */
const RETRY_MS = 1_000;

/** Gets the first SVID, then keeps it and the bundles fresh. **Throws** RPC_UNAVAILABLE when the control plane does not answer. */
export async function openApiIdentity(options: { readonly controlPlane: ControlPlane; readonly trustDomain: TrustDomain; readonly clock: Clock; readonly random: Random; readonly log: Log }): Promise<ApiIdentity> {
  const { controlPlane, trustDomain, clock, random, log } = options;
  const spiffeId = spiffeIds.adminApi(trustDomain);
  const bundles = openBundleSet();
  const take = (bundle: Bundle): void => void bundles.update(bundle);
  const request = async (signal?: AbortSignal): Promise<X509Svid> => {
    const key = generateKey();
    const answer = await controlPlane.issue(makeCsr({ key, spiffeId }), signal);
    for (const wire of answer.bundles) {
      const bundle = bundleFromWire(wire);
      if (bundle.ok) take(bundle.value);
      else log.warn('a bundle of the control plane does not parse', { problems: formatProblems(bundle.problems) });
    }
    return makeX509Svid(answer.chain.map((der) => Buffer.from(der)), key);
  };
  const svids = keepFresh({ request, initial: await request(), clock, random, log });
  const closed = new AbortController();
  const following = followBundles();
  return {
    spiffeId,
    svids,
    bundles,
    close: async () => {
      closed.abort();
      svids.close();
      await following;
    },
  };

  /** A root that is taken away must be gone here within seconds, not at the next renewal. */
  async function followBundles(): Promise<void> {
    while (!closed.signal.aborted) {
      try {
        for await (const { puts, deletes } of controlPlane.watch('bundle', '', closed.signal)) {
          for (const put of puts) take(JSON.parse(Buffer.from(put.document).toString('utf8')) as Bundle);
          for (const gone of deletes) bundles.remove(gone);
        }
      } catch (error) {
        log.warn('bundles are not followed, those known are kept', { error: messageOf(error) });
      }
      await clock.sleep(RETRY_MS, closed.signal).catch(() => undefined);
    }
  }
}
