// Proxy to control plane: keeps the stream, takes only whole good snapshots, remembers the last good one on disk, reports workloads.
import { type BannedSvids, type Bundle, EMPTY_SNAPSHOT, messageOf, type Registration, type RenewHint, type Snapshot, type TrustFacts } from '@isthmus/model';
import { discovery, type RpcChannel } from '@isthmus/rpc';
import { backoff, type Clock, programVersion, type Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { acceptUpdate } from './accept-update.ts';
import type { DrainFollower } from './drain-follower.ts';
import { LastGood } from './last-good.ts';
import { ReportState } from './report.ts';

export type SubscribeOptions = {
  readonly channel: RpcChannel;
  readonly hello: { readonly network: string; readonly locality: string };
  /** Path of the last-good file, mode 0600; without it nothing outlives the process. */
  readonly stateFile?: string;
  /** Older last-good snapshots than this are not used; 7 days without it. */
  readonly maxAgeMs?: number;
  /** Gets every bundle of a snapshot before the snapshot is handed on, and loses those a snapshot takes away. */
  readonly bundles?: { update(bundle: Bundle): boolean; remove(trustDomain: string): void; ban(trustDomain: string, bans: readonly BannedSvids[]): void };
  /** What this proxy trusts, told at the start of each stream and at every change; and what it does about roots on their way out. */
  readonly trust?: {
    readonly name: string;
    trustFacts(): TrustFacts;
    onTrust(fn: () => void): () => void;
    takeHint(hint: RenewHint): void;
  };
  /** What an operator wants drained here; its progress is told at the start of each stream and at every change. */
  readonly drain?: { readonly name: string; readonly follower: DrainFollower };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

export type SubscriptionStatus = {
  readonly version: number;
  readonly connected: boolean;
  /** Since the control plane was last heard; after a restart counted from when the last-good file was written. */
  readonly ageMs: number;
  readonly source: 'none' | 'last-good' | 'control-plane';
  readonly lastNack?: string;
  readonly reportRefused?: string;
  readonly lastError?: string;
};

export interface Subscription {
  snapshot(): Snapshot;
  /** Called with each snapshot in force and the names of the resources that changed in it; not for the present one. */
  onSnapshot(fn: (snapshot: Snapshot, changed: readonly string[]) => void): () => void;
  /** The workloads this agent answers for now; only the latest state is sent. Their `sequence` is set here. */
  report(registrations: readonly Registration[]): void;
  status(): SubscriptionStatus;
  close(): Promise<void>;
}

const DEFAULT_MAX_AGE_MS = 7 * 86_400_000;
const MAX_ROOTS = 64;
const MAX_DRAINED = 1_000;
const RECONNECT = { baseMs: 200, maxMs: 5_000 } as const;

/** Loads the last good snapshot, then keeps a stream. Resolves before any connection; `snapshot()` is then the last good one. */
export async function subscribe(options: SubscribeOptions): Promise<Subscription> {
  const { stateFile, clock, log } = options;
  const lastGood =
    stateFile === undefined
      ? undefined
      : new LastGood({ path: stateFile, clock, log, maxAgeMs: options.maxAgeMs ?? DEFAULT_MAX_AGE_MS, onSaved: (snapshot) => subscription.saved(snapshot) });
  const subscription: StreamSubscription = new StreamSubscription(options, lastGood);
  await subscription.start();
  return subscription;
}

type ClientStream = ReturnType<discovery.DiscoveryClient['subscribe']>;

/** loading → (connecting → connected → backing off)* → closed. The snapshot in force never depends on which. */
class StreamSubscription implements Subscription {
  readonly #options: SubscribeOptions;
  readonly #lastGood: LastGood | undefined;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<(snapshot: Snapshot, changed: readonly string[]) => void>();
  readonly #report: ReportState;
  readonly #nacks;
  readonly #connectedGauge;
  #snapshot: Snapshot = EMPTY_SNAPSHOT;
  #source: SubscriptionStatus['source'] = 'none';
  #stream: ClientStream | undefined;
  #hasBase = false;
  #heardAtMonotonicMs: number;
  #lastNack: string | undefined;
  #reportRefused: string | undefined;
  #lastError: string | undefined;
  #running: Promise<void> | undefined;
  readonly #stopTrust: (() => void) | undefined;
  readonly #stopDrain: (() => void) | undefined;
  #isTrustDirty = false;
  #isDrainDirty = false;
  /** Bundles as they are on disk; undefined where nothing is kept there. */
  #saved: Snapshot | undefined;

  constructor(options: SubscribeOptions, lastGood: LastGood | undefined) {
    this.#options = options;
    this.#lastGood = lastGood;
    this.#report = new ReportState(() => options.clock.nowMs());
    this.#heardAtMonotonicMs = options.clock.monotonicMs();
    this.#stopTrust = options.trust?.onTrust(() => this.#trustChanged());
    this.#stopDrain = options.drain?.follower.onProgress(() => this.#drainChanged());
    this.#nacks = options.metrics.counter('isthmus_snapshot_nacks_total', 'Updates from the control plane that were refused');
    this.#connectedGauge = options.metrics.gauge('isthmus_snapshot_connected', 'Whether the control plane is heard (1) or the last snapshot is in use (0)');
  }

  async start(): Promise<void> {
    const loaded = await this.#lastGood?.load();
    if (loaded !== undefined) {
      const ageMs = Math.max(0, this.#options.clock.nowMs() - loaded.savedAtMs);
      this.#heardAtMonotonicMs = this.#options.clock.monotonicMs() - ageMs;
      this.#source = 'last-good';
      this.#takeBundles(loaded.snapshot, [...loaded.snapshot.resources.keys()]);
      this.#snapshot = loaded.snapshot;
      this.#saved = loaded.snapshot;
      this.#options.log.info('last-good snapshot in use', { version: loaded.snapshot.version, ageMs });
    }
    this.#running = this.#run();
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  onSnapshot(fn: (snapshot: Snapshot, changed: readonly string[]) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  report(registrations: readonly Registration[]): void {
    this.#report.set(registrations);
    this.#tell();
  }

  status(): SubscriptionStatus {
    const connected = this.#stream !== undefined && this.#hasBase;
    return {
      version: this.#snapshot.version,
      connected,
      ageMs: connected ? 0 : Math.round(this.#options.clock.monotonicMs() - this.#heardAtMonotonicMs),
      source: this.#source,
      ...(this.#lastNack === undefined ? {} : { lastNack: this.#lastNack }),
      ...(this.#reportRefused === undefined ? {} : { reportRefused: this.#reportRefused }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#stopTrust?.();
    this.#stopDrain?.();
    this.#stream?.cancel();
    await this.#running;
    this.#listeners.clear();
    await this.#lastGood?.close();
  }

  async #run(): Promise<void> {
    const { clock, log, random } = this.#options;
    const pause = backoff({ ...RECONNECT, random });
    while (!this.#stop.signal.aborted) {
      try {
        await this.#connection();
      } catch (thrown) {
        this.#lastError = messageOf(thrown);
      }
      if (this.#stop.signal.aborted) return;
      if (this.#hasBase) {
        pause.reset();
        this.#heardAtMonotonicMs = clock.monotonicMs();
        log.warn('control plane lost, keeping the snapshot', { version: this.#snapshot.version, ...(this.#lastError === undefined ? {} : { error: this.#lastError }) });
      }
      this.#hasBase = false;
      this.#connectedGauge.set(0);
      await clock.sleep(pause.nextMs(), this.#stop.signal).catch(() => undefined);
    }
  }

  /** One stream from opening to end; resolves or rejects when it is over. */
  #connection(): Promise<void> {
    const over = Promise.withResolvers<void>();
    const stream = this.#options.channel.client(discovery.DiscoveryClient).subscribe();
    this.#stream = stream;
    this.#report.restart();
    this.#isTrustDirty = true;
    this.#isDrainDirty = true;
    stream.on('data', (response: discovery.SubscribeResponse) => this.#receive(response));
    stream.on('drain', () => this.#tell());
    stream.on('error', (error: Error) => over.reject(error));
    stream.on('end', () => over.resolve());
    stream.on('close', () => over.resolve());
    stream.write({ message: { $case: 'hello', value: { ...this.#options.hello, version: programVersion() } } });
    this.#tell();
    return over.promise.finally(() => {
      this.#stream = undefined;
      stream.cancel();
    });
  }

  #receive({ message }: discovery.SubscribeResponse): void {
    switch (message?.$case) {
      case 'update':
        return this.#update(message.value);
      case 'reportRefused':
        this.#reportRefused = message.value.reason;
        this.#options.log.warn('control plane refused a report', { reason: message.value.reason });
        return;
      case 'renewHint':
        return this.#hint(message.value);
      case 'desiredDrain':
        return this.#desire(message.value);
      case undefined:
        return; // A kind of message this version does not know.
    }
  }

  #update(update: discovery.Update): void {
    const version = Number(update.version);
    if (!update.full && !this.#hasBase) return this.#refuse(version, 'the first update of a stream must be full');
    const result = acceptUpdate(this.#snapshot, { full: update.full, version, upserts: update.upserts, removals: update.removals });
    if (!result.ok) return this.#refuse(version, result.reason);
    if (result.skipped > 0) this.#options.log.debug('resources of unknown kinds skipped', { count: result.skipped });
    if (!this.#hasBase) this.#options.log.info('control plane connected', { version, resources: result.snapshot.resources.size });
    this.#hasBase = true;
    this.#connectedGauge.set(1);
    this.#source = 'control-plane';
    this.#lastNack = undefined;
    this.#lastError = undefined;
    this.#takeBundles(result.snapshot, result.changed);
    this.#snapshot = result.snapshot;
    this.#stream?.write({ message: { $case: 'ack', value: { version: update.version } } });
    this.#lastGood?.save(result.snapshot);
    this.#trustChanged();
    for (const listener of this.#listeners) listener(result.snapshot, result.changed);
  }

  #refuse(version: number, reason: string): void {
    this.#lastNack = reason;
    this.#nacks.inc();
    this.#options.log.warn('update refused, keeping the snapshot', { version, reason });
    this.#stream?.write({ message: { $case: 'nack', value: { version: BigInt(version), reason: reason.slice(0, 1_000) } } });
  }

  #takeBundles(snapshot: Snapshot, changed: readonly string[]): void {
    const { bundles } = this.#options;
    if (bundles === undefined) return;
    for (const name of changed) {
      const resource = snapshot.resources.get(name);
      if (name.startsWith('bans/')) bundles.ban(name.slice('bans/'.length), resource?.kind === 'bans' ? resource.bans : []);
      if (!name.startsWith('bundle/')) continue;
      if (resource?.kind === 'bundle') bundles.update(resource.bundle);
      else bundles.remove(name.slice('bundle/'.length));
    }
  }

  /** The last good snapshot is on disk: only now are its bundles acknowledged, since they outlive this process. */
  saved(snapshot: Snapshot): void {
    this.#saved = snapshot;
    this.#trustChanged();
  }

  #hint({ retiring, revoked, spreadMs }: discovery.RenewHint): void {
    const hex = (hashes: readonly Uint8Array[]): string[] => hashes.slice(0, MAX_ROOTS).map((h) => Buffer.from(h).toString('hex'));
    this.#options.log.info('roots on their way out', { retiring: retiring.length, revoked: revoked.length });
    this.#options.trust?.takeHint({ retiring: hex(retiring), revoked: hex(revoked), spreadMs });
  }

  #desire({ revision, draining, workloads }: discovery.DesiredDrain): void {
    this.#options.drain?.follower.take({ revision: Number(revision), draining, workloads: workloads.slice(0, MAX_DRAINED) });
    // Also where it is nothing new: the control plane asked, and is answered.
    this.#drainChanged();
  }

  #drainChanged(): void {
    this.#isDrainDirty = true;
    queueMicrotask(() => this.#tell());
  }

  /** Tells how far a drain is; a gateway is known by name from here on. */
  #tellDrain(stream: ClientStream): void {
    const { drain } = this.#options;
    const progress = drain?.follower.progress();
    if (drain === undefined || progress === undefined || !this.#isDrainDirty || !this.#hasBase) return;
    this.#isDrainDirty = false;
    const { revision, state, connections, problem = '', address = '' } = progress;
    stream.write({ message: { $case: 'drain', value: { name: drain.name, revision: BigInt(revision), state, connections, problem, address } } });
  }

  #trustChanged(): void {
    this.#isTrustDirty = true;
    // Several changes of one turn are told once.
    queueMicrotask(() => this.#tell());
  }

  /** Tells what is trusted here, once the first update of the stream is in force. */
  #tellTrust(stream: ClientStream): void {
    const { trust } = this.#options;
    if (trust === undefined || !this.#isTrustDirty || !this.#hasBase) return;
    this.#isTrustDirty = false;
    const facts = trust.trustFacts();
    const held = Object.entries(facts.held).flatMap(([trustDomain, sequence]) => {
      const onDisk = this.#lastGood === undefined ? sequence : this.#savedSequence(trustDomain);
      return onDisk === undefined ? [] : [{ trustDomain, sequence: BigInt(Math.min(sequence, onDisk)) }];
    });
    const live = facts.live.map((l) => ({ rootSha256: Buffer.from(l.rootSha256, 'hex'), expiresAtMs: BigInt(Math.round(l.expiresAtMs)) }));
    stream.write({ message: { $case: 'trust', value: { name: trust.name, held, live } } });
  }

  #savedSequence(trustDomain: string): number | undefined {
    const resource = this.#saved?.resources.get(`bundle/${trustDomain}`);
    return resource?.kind === 'bundle' ? resource.bundle.sequence : undefined;
  }

  /** Sends what the control plane does not know yet, unless the stream is still busy with earlier words. */
  #tell(): void {
    const stream = this.#stream;
    if (stream === undefined || stream.writableNeedDrain) return;
    this.#tellTrust(stream);
    this.#tellDrain(stream);
    const next = this.#report.next();
    if (next === undefined) return;
    if (next.full) this.#reportRefused = undefined;
    stream.write({
      message: {
        $case: 'report',
        value: { full: next.full, registrations: next.registrations.map((r) => Buffer.from(JSON.stringify(r))), removed: [...next.removed] },
      },
    });
  }
}
