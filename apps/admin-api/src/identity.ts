// The admin API's own SVID and the federation's bundles: from the control plane's socket, kept fresh.
import { type Bundle, formatProblems, IsthmusError, messageOf, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { bundleFromWire, keepFresh } from '@isthmus/identity';
import { type BundleSource, generateKey, makeCsr, makeX509Svid, openBundleSet, type SvidSource, type X509Svid } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import type { ControlPlane } from './control-plane.ts';

export type ApiIdentity = { readonly spiffeId: SpiffeId; readonly svids: SvidSource; readonly bundles: BundleSource; close(): Promise<void> };

type BansOfDomain = ReturnType<BundleSource['allBans']>[number];

/** Bundles are asked for this often where their watch is cut off. */
const RETRY_MS = 1_000;

/** A control plane that starts at the same moment is waited for so long. */
const START_LIMIT_MS = 60_000;

/** Gets the first SVID, then keeps it and the bundles fresh. **Throws** RPC_UNAVAILABLE when the control plane does not answer. */
export async function openApiIdentity(options: { readonly controlPlane: ControlPlane; readonly trustDomain: TrustDomain; readonly signal?: AbortSignal; readonly clock: Clock; readonly random: Random; readonly log: Log }): Promise<ApiIdentity> {
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
  const svids = keepFresh({ request, initial: await first(request, options.signal, clock, log), clock, random, log });
  const closed = new AbortController();
  // An intermediate that is replaced may stand under a new root, and what hangs on the old one is soon nothing: an admin API
  // is none of those whose renewal a rotation waits for.
  let intermediate: string | undefined;
  const onCertificate = (name: string, document: unknown): void => {
    if (name !== 'intermediate') return;
    const now = JSON.stringify(document);
    if (intermediate !== undefined && intermediate !== now) void svids.renewNow();
    intermediate = now;
  };
  // A root or an identity that is taken away must be gone here within seconds, not at the next renewal.
  const following = Promise.all([
    follow('bundle', (_key, document) => take(document as Bundle), (trustDomain) => bundles.remove(trustDomain)),
    follow('certificate', onCertificate, () => undefined),
    follow('banned', (trustDomain, document) => bundles.ban(trustDomain, (document as Pick<BansOfDomain, 'bans'>).bans), (trustDomain) => bundles.ban(trustDomain, [])),
  ]);
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

  async function follow(kind: string, put: (key: string, document: unknown) => void, remove: (key: string) => void): Promise<void> {
    while (!closed.signal.aborted) {
      try {
        for await (const { puts, deletes } of controlPlane.watch(kind, '', closed.signal)) {
          for (const { key, document } of puts) put(key, JSON.parse(Buffer.from(document).toString('utf8')));
          for (const gone of deletes) remove(gone);
        }
      } catch (error) {
        log.warn('what is trusted is not followed, what is known is kept', { kind, error: messageOf(error) });
      }
      await clock.sleep(RETRY_MS, closed.signal).catch(() => undefined);
    }
  }
}

/** The first SVID: on a machine, or in a pod, that comes up, the control plane may be later. */
async function first(request: (signal?: AbortSignal) => Promise<X509Svid>, signal: AbortSignal | undefined, clock: Clock, log: Log): Promise<X509Svid> {
  const untilMs = clock.monotonicMs() + START_LIMIT_MS;
  for (;;) {
    try {
      return await request(signal);
    } catch (error) {
      if (!(error instanceof IsthmusError) || error.class !== 'unavailable' || clock.monotonicMs() > untilMs || signal?.aborted === true) throw error;
      log.warn('the control plane does not answer yet', { code: error.code });
    }
    await clock.sleep(RETRY_MS, signal);
  }
}
