// The SVIDs of the services beside a proxy: issued when first asked for, kept fresh, kept on disk for a restart without a control plane.
import { join } from 'node:path';
import { messageOf, type ServiceName, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { type BundleSource, type SvidSource, verifySvid, type X509Svid } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { type FreshSvid, keepFresh } from '../renew.ts';
import { openJsonState } from '../state.ts';
import { MAX_SVID_BYTES, parseSvidState, svidFromState, svidToState } from './state.ts';

const MAX_SERVICES = 256;

export interface ServiceSvids {
  get(service: ServiceName): SvidSource;
  /** Those that are open. */
  all(): readonly FreshSvid[];
  list(): readonly { readonly spiffeId: SpiffeId; readonly expiresAtMs: number }[];
  close(): void;
}

/** **Bounds** 256 services. `request` gets a checked SVID from the control plane. */
export function openServiceSvids(options: {
  readonly stateDir: string;
  /** Begins the names of the files in `stateDir`. */
  readonly filePrefix: string;
  readonly trustDomain: TrustDomain;
  readonly bundles: BundleSource;
  readonly request: (spiffeId: SpiffeId, service: ServiceName, signal: AbortSignal) => Promise<X509Svid>;
  /** Called after one was renewed. */
  readonly onRenewed: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}): ServiceSvids {
  const { stateDir, trustDomain, bundles, clock, random } = options;
  const open = new Map<SpiffeId, FreshSvid>();

  function openOne(service: ServiceName, spiffeId: SpiffeId): FreshSvid {
    const log = options.log.with({ spiffeId });
    // Labels hold no dot, so the file's name stands for one service only.
    const file = openJsonState(join(stateDir, `${options.filePrefix}.${service.namespace}.${service.name}.state`), parseSvidState, MAX_SVID_BYTES);
    let mayBeStored = true;

    async function stored(): Promise<X509Svid | undefined> {
      const state = await file.read().catch((error: unknown) => {
        log.warn('a stored SVID cannot be read, a new one is asked for', { error: messageOf(error) });
        return undefined;
      });
      const svid = state === undefined ? undefined : svidFromState(state, spiffeId);
      if (svid === undefined) return undefined;
      return verifySvid({ chain: svid.chain, bundle: bundles.get(trustDomain), nowMs: clock.nowMs() }).ok ? svid : undefined;
    }
    const request = async (signal: AbortSignal): Promise<X509Svid> => {
      const isFirst = mayBeStored;
      mayBeStored = false;
      const found = isFirst ? await stored() : undefined;
      if (found !== undefined) return found;
      const svid = await options.request(spiffeId, service, signal);
      await file.write(svidToState(svid)).catch((error: unknown) => log.error('an SVID is kept in memory only', { error: messageOf(error) }));
      return svid;
    };
    const fresh = keepFresh({ request, clock, random, log });
    fresh.onChange(options.onRenewed);
    return fresh;
  }

  return {
    get(service) {
      const spiffeId = spiffeIds.service(trustDomain, service);
      const known = open.get(spiffeId);
      if (known !== undefined) return known;
      if (open.size >= MAX_SERVICES) throw fail('IDENTITY_DENIED', `one proxy holds at most ${MAX_SERVICES} service identities`);
      const source = openOne(service, spiffeId);
      open.set(spiffeId, source);
      return source;
    },
    all: () => [...open.values()],
    list: () => [...open].map(([spiffeId, source]) => ({ spiffeId, expiresAtMs: source.current()?.expiresAtMs ?? 0 })),
    close() {
      for (const source of open.values()) source.close();
      open.clear();
    },
  };
}
