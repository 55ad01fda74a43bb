// Telling the trust root what everybody of this cluster trusts: at every change, again after every loss, and now and then.
import { messageOf, type TrustFacts } from '@isthmus/model';
import type { trust } from '@isthmus/rpc';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

/** One proxy of this cluster as its control plane knows it; `facts` is undefined where it told nothing since the start. */
export type ProxyTrust = {
  readonly kind: 'gateway' | 'agent';
  readonly name: string;
  readonly isConnected: boolean;
  readonly heardAtMs: number | undefined;
  readonly facts: TrustFacts | undefined;
};

export interface TrustReports {
  /** Something changed; it is told soon, many changes together. */
  changed(): void;
  close(): Promise<void>;
}

const SOON_MS = 100;
/** While a rotation lasts, and else: expiry and silence are changes nobody tells. */
const EVERY_ROTATING_MS = 2_000;
const EVERY_MS = 30_000;
const SEND_TIMEOUT_MS = 10_000;

/** Keeps telling until closed. `proxies` may fail; then nothing is told, and it is tried again. */
export function openTrustReports(options: {
  readonly own: () => TrustFacts;
  readonly proxies: () => Promise<readonly ProxyTrust[]>;
  readonly send: (report: trust.TrustReport, signal: AbortSignal) => Promise<void>;
  readonly isRotating: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}): TrustReports {
  const { clock, log } = options;
  const closing = new AbortController();
  const retry = backoff({ baseMs: 500, maxMs: 10_000, random: options.random });
  let timer: { cancel(): void } | undefined;
  let underWay: Promise<void> | undefined;
  let isDirty = false;

  const after = (delayMs: number): void => {
    timer?.cancel();
    if (!closing.signal.aborted) timer = clock.setTimer(delayMs, () => void tell());
  };
  const tell = (): Promise<void> => {
    underWay ??= send().finally(() => (underWay = undefined));
    return underWay;
  };
  async function send(): Promise<void> {
    timer?.cancel();
    isDirty = false;
    try {
      const report = toReport(options.own(), await options.proxies(), clock.nowMs());
      await options.send(report, AbortSignal.any([closing.signal, AbortSignal.timeout(SEND_TIMEOUT_MS)]));
      retry.reset();
      after(isDirty ? SOON_MS : options.isRotating() ? EVERY_ROTATING_MS : EVERY_MS);
    } catch (error) {
      if (closing.signal.aborted) return;
      log.debug('what is trusted here could not be told', { error: messageOf(error) });
      after(Math.max(SOON_MS, retry.nextMs()));
    }
  }

  after(SOON_MS);
  return {
    changed: () => {
      isDirty = true;
      if (underWay === undefined) after(SOON_MS);
    },
    async close() {
      closing.abort();
      timer?.cancel();
      await underWay;
    },
  };
}

/** The report of a whole cluster. Proxies mostly hold the same bundles, so each set of them stands there once. */
export function toReport(own: TrustFacts, proxies: readonly ProxyTrust[], nowMs: number): trust.TrustReport {
  const places = new Map<string, number>();
  const held: trust.HeldBundles[] = [];
  const placeOf = (sequences: TrustFacts['held']): number => {
    const key = JSON.stringify(Object.entries(sequences).sort(([a], [b]) => (a < b ? -1 : 1)));
    const known = places.get(key);
    if (known !== undefined) return known;
    held.push({ bundles: Object.entries(sequences).map(([trustDomain, sequence]) => ({ trustDomain, sequence: BigInt(sequence) })) });
    places.set(key, held.length);
    return held.length;
  };
  const live = (facts: TrustFacts): trust.LiveRoot[] =>
    facts.live.map((l) => ({ rootSha256: Buffer.from(l.rootSha256, 'hex'), expiresAtMs: BigInt(Math.round(l.expiresAtMs)) }));
  const participants: trust.Participant[] = [
    { name: 'control-plane', held: placeOf(own.held), live: live(own), connected: true, heardAtMs: BigInt(Math.round(nowMs)) },
    ...proxies.map((p) => ({
      name: `${p.kind}/${p.name}`,
      held: p.facts === undefined ? 0 : placeOf(p.facts.held),
      live: p.facts === undefined ? [] : live(p.facts),
      connected: p.isConnected,
      heardAtMs: BigInt(p.facts === undefined || p.heardAtMs === undefined ? 0 : Math.round(p.heardAtMs)),
    })),
  ];
  return { participants, held };
}
