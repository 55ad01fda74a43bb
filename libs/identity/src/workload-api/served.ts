// What both faces of the socket, the Workload API and SDS, are served from: identities, the door, and the open streams.
import type { ServiceName, TrustDomain } from '@isthmus/model';
import type { BundleSource, SvidSource, X509Svid } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { openRateLimit, type RateLimit } from '../rate-limit.ts';
import type { Door, Visit } from './door.ts';
import type { Subject } from './push.ts';

/** Where identities come from: the agent's own, joined. */
export type IdentitySource = {
  readonly trustDomain: TrustDomain;
  readonly bundles: BundleSource;
  workloadSvids(service: ServiceName): SvidSource;
  jwtSvid(service: ServiceName, audience: readonly string[]): Promise<{ readonly token: string }>;
};

export type ServedOptions = { readonly identity: IdentitySource; readonly door: Door; readonly clock: Clock; readonly log: Log; readonly metrics: Metrics };

export class Served {
  readonly identity: IdentitySource;
  readonly door: Door;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Tokens one user may ask for: fewer than the control plane gives this agent, so that none takes all. */
  readonly tokenLimit: RateLimit;
  private readonly streams = new Set<{ end?: () => void }>();

  constructor({ identity, door, clock, log, metrics }: ServedOptions) {
    this.identity = identity;
    this.door = door;
    this.clock = clock;
    this.log = log;
    this.metrics = metrics;
    this.tokenLimit = openRateLimit({ burst: 100, perSecond: 20, clock });
  }

  /** The SVIDs of a caller, its default first. */
  sourcesOf({ services }: Visit): readonly SvidSource[] {
    return services.map((service) => this.identity.workloadSvids(service));
  }

  /** Those that are there and have not run out. */
  currentOf(sources: readonly SvidSource[]): readonly X509Svid[] {
    return sources.flatMap((source) => source.current() ?? []).filter((svid) => svid.expiresAtMs > this.clock.nowMs());
  }

  /** Opens a stream for a visit: the visit ends with it, and the stream with `end`. */
  track(visit: Visit, open: (onEnd: () => void) => { end(): void }): { end(): void } {
    const entry: { end?: () => void } = {};
    this.streams.add(entry);
    const onEnd = (): void => {
      visit.leave();
      this.streams.delete(entry);
    };
    try {
      const stream = open(onEnd);
      entry.end = () => stream.end();
      return stream;
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  /** What a subject says once it is whole, or all there is after the limit. **Throws** WORKLOAD_API_NOT_READY. */
  async settled<T>(subject: Subject<T>, limitMs: number): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (subject.make()?.isWhole === true) resolve();
    };
    const stops = subject.follow.map((source) => source.onChange(check));
    const limit = this.clock.setTimer(limitMs, resolve);
    check();
    await promise;
    limit.cancel();
    for (const stop of stops) stop();
    const made = subject.make();
    if (made === undefined) throw fail('WORKLOAD_API_NOT_READY', 'the control plane has issued no identity yet');
    return made.answer;
  }

  /** Ends all streams, so that their callers come again. */
  end(): void {
    for (const stream of this.streams) stream.end?.();
  }
}
