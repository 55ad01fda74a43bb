// What this cluster says to the others: signed, numbered, written under shared/ only when it says something new.
import { type Ban, type Digest, formatServiceName, messageOf, nextSequence, parseBan, parseClusterRecord, parseDigest, type ServiceName, spiffeIds, type TrustDomain } from '@isthmus/model';
import { type BundleSource, signRecord, type SvidSource, verifyRecord } from '@isthmus/pki';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import { keys, type Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import { Debounce } from './debounce.ts';
import { type DigestContent, type ExportedService, makeDigest, readableKeys, sharedKeys } from './digest.ts';
import { fail } from './errors.ts';
import { MAX_RECORD_BYTES } from './record.ts';

export type PublisherOptions = {
  readonly store: Store;
  readonly cluster: string;
  readonly trustDomain: string;
  readonly locality: string;
  readonly gateways: () => readonly string[];
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  readonly exports: () => readonly ExportedService[];
  readonly exportOf: (name: ServiceName) => ExportedService | undefined;
  readonly bans: () => readonly Ban[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly heartbeatIntervalMs: number;
  readonly settleMs: number;
};

/** What stands under one shared key now; `content` is undefined when it is not known or must be signed anew. */
type Published = { readonly modRevision: bigint; readonly content: string | undefined; readonly service: ServiceName | undefined; readonly totalCount: number | undefined };

/** The highest sequence ever used, so that a clock set back between two lives does not make peers refuse the second. */
const SEQUENCE_KEY = 'publisher/sequence';
/** More than is ever used between two notes of it. */
const SEQUENCE_SLACK = 10_000;
const RECONCILE_EVERY_MS = 60_000;
const PARALLEL_WRITES = 8;
const WRITE_ATTEMPTS = 3;

/**
 * Publishes exports and heartbeats. Writes are fenced by revision: of two control planes that believe they are the one,
 * one write succeeds and the other reads again. `settleMs` after its start it does not announce less than an earlier
 * life did: agents that have not come back yet are unknown, not gone (facts U2).
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #log: Log;
  readonly #debounce: Debounce;
  readonly #stop = new AbortController();
  readonly #dirty = new Map<string, ServiceName>();
  readonly #published = new Map<string, Published>();
  readonly #withdrawn = new Set<string>();
  readonly #unsubscribe: () => void;
  readonly #writes;
  readonly #failures;
  readonly #settlesAtMonotonicMs: number;
  #lastSequence = 0;
  #hasNewBans = false;
  #flushing: Promise<void> | undefined;
  #life: Promise<unknown> | undefined;

  constructor(options: PublisherOptions) {
    const { clock, metrics } = options;
    this.#options = options;
    this.#log = options.log;
    this.#settlesAtMonotonicMs = clock.monotonicMs() + options.settleMs;
    this.#writes = metrics.counter('isthmus_federation_records_published_total', 'Signed records written for peers', ['kind']);
    this.#failures = metrics.counter('isthmus_federation_publish_failures_total', 'Signed records that could not be written');
    this.#debounce = new Debounce({ clock, run: () => void this.#flush() });
    this.#unsubscribe = options.svids.onChange(() => this.#signAnew());
  }

  /** Learns what an earlier life published. **Throws** as `store.list`. */
  async load(): Promise<void> {
    const { store } = this.#options;
    const floor = Number((await store.get(SEQUENCE_KEY))?.value.toString('utf8') ?? 0);
    if (Number.isSafeInteger(floor) && floor > 0) this.#lastSequence = floor + SEQUENCE_SLACK;
    await this.#readPublished();
  }

  start(): void {
    this.#markAll();
    this.#life = Promise.all([this.#beat(), this.#reconcile()]);
  }

  publish(changed: readonly ServiceName[]): void {
    if (this.#stop.signal.aborted) return;
    for (const name of changed) this.#dirty.set(formatServiceName(name), name);
    if (this.#dirty.size > 0) this.#debounce.trigger();
  }

  /** Bans came, were lifted or ran out. */
  publishBans(): void {
    if (this.#stop.signal.aborted) return;
    this.#hasNewBans = true;
    this.#debounce.trigger();
  }

  /** Stops offering anything to that cluster by name; `undefined` from `restore` on. */
  withdrawFrom(cluster: string): void {
    this.#withdrawn.add(cluster);
    this.#markAll();
  }

  restore(cluster: string): void {
    if (this.#withdrawn.delete(cluster)) this.#markAll();
  }

  /** Resolves when all that was told so far is written (or waits for the store), for tests. */
  async settled(): Promise<void> {
    await this.#flush();
    while (this.#flushing !== undefined) await this.#flushing;
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    this.#stop.abort();
    this.#debounce.close();
    await this.#life;
    while (this.#flushing !== undefined) await this.#flushing;
  }

  #markAll(): void {
    this.publishBans();
    const names = [...this.#options.exports().map((e) => e.service), ...[...this.#published.values()].flatMap((p) => p.service ?? [])];
    this.publish(names.map(({ namespace, name }) => ({ namespace, name })));
  }

  /** The SVID rotated: a record signed by the old one is only good as long as that lives. */
  #signAnew(): void {
    for (const [key, published] of this.#published) this.#published.set(key, { ...published, content: undefined });
    this.#markAll();
    void this.#writeHeartbeat().catch(() => undefined);
  }

  #flush(): Promise<void> {
    this.#flushing ??= this.#flushDirty().finally(() => {
      this.#flushing = undefined;
      if ((this.#dirty.size > 0 || this.#hasNewBans) && !this.#stop.signal.aborted) this.#debounce.trigger();
    });
    return this.#flushing;
  }

  async #flushDirty(): Promise<void> {
    const pause = backoff({ baseMs: 100, maxMs: 5_000, random: this.#options.random });
    const held: ServiceName[] = [];
    while (this.#hasNewBans && !this.#stop.signal.aborted && this.#options.svids.current() !== undefined) {
      this.#hasNewBans = false;
      try {
        await this.#writeBans();
      } catch (thrown) {
        this.#hasNewBans = true;
        this.#failures.inc();
        this.#log.warn('bans not published, will try again', { error: messageOf(thrown) });
        await this.#options.clock.sleep(pause.nextMs(), this.#stop.signal).catch(() => undefined);
      }
    }
    pause.reset();
    while (this.#dirty.size > 0 && !this.#stop.signal.aborted && this.#options.svids.current() !== undefined) {
      const batch = [...this.#dirty.values()].slice(0, PARALLEL_WRITES);
      for (const name of batch) this.#dirty.delete(formatServiceName(name));
      const results = await Promise.allSettled(batch.map((name) => this.#publishOne(name)));
      const failed = results.flatMap((r, i) => (r.status === 'rejected' ? [{ name: batch[i], error: r.reason as unknown }] : []));
      held.push(...results.flatMap((r, i) => (r.status === 'fulfilled' && r.value === 'held' ? (batch[i] ?? []) : [])));
      if (failed.length === 0) {
        pause.reset();
        continue;
      }
      for (const { name } of failed) if (name !== undefined) this.#dirty.set(formatServiceName(name), name);
      this.#failures.inc({}, failed.length);
      this.#log.warn('exports not published, will try again', { count: failed.length, error: messageOf(failed[0]?.error) });
      await this.#options.clock.sleep(pause.nextMs(), this.#stop.signal).catch(() => undefined);
    }
    if (held.length > 0) this.#afterSettling(held);
  }

  #afterSettling(names: readonly ServiceName[]): void {
    const waitMs = Math.max(0, this.#settlesAtMonotonicMs - this.#options.clock.monotonicMs());
    this.#options.clock.sleep(waitMs + 1, this.#stop.signal).then(
      () => this.publish(names),
      () => undefined,
    );
  }

  async #publishOne(name: ServiceName): Promise<'done' | 'held'> {
    const exported = this.#options.exportOf(name);
    const wanted = exported === undefined ? [] : sharedKeys(this.#options.cluster, exported, this.#withdrawn);
    const stale = [...this.#keysOf(name)].filter((key) => !wanted.includes(key));
    for (const key of stale) await this.#delete(key);
    if (exported === undefined) return 'done';
    const digest = makeDigest(this.#options.cluster, exported);
    const content = JSON.stringify(digest);
    let outcome: 'done' | 'held' = 'done';
    for (const key of wanted) {
      const published = this.#published.get(key);
      if (published?.content === content) continue;
      if (this.#mustWait(published, digest)) outcome = 'held';
      else await this.#write(key, digest, { content, service: name, totalCount: digest.totalCount });
    }
    return outcome;
  }

  async #writeBans(): Promise<void> {
    const bans = new Map(this.#options.bans().map((ban) => [keys.sharedBan(ban.id), ban]));
    for (const key of [...this.#published.keys()]) if (key.startsWith(keys.sharedBans()) && !bans.has(key)) await this.#delete(key);
    for (const [key, ban] of bans) {
      const content = JSON.stringify(ban);
      if (this.#published.get(key)?.content !== content) await this.#write(key, ban, { content, service: undefined, totalCount: undefined });
    }
  }

  /** True while less than an earlier life announced may only mean that not all agents are back. */
  #mustWait(published: Published | undefined, digest: DigestContent): boolean {
    if (published === undefined || this.#options.clock.monotonicMs() >= this.#settlesAtMonotonicMs) return false;
    return digest.totalCount < (published.totalCount ?? 1);
  }

  /** Every shared key this service may stand under: those it is known under. */
  *#keysOf(name: ServiceName): Iterable<string> {
    const [all] = readableKeys(this.#options.cluster, name);
    const below = all?.slice(keys.sharedExports('all').length) ?? '';
    for (const key of this.#published.keys()) if (key.endsWith(`/exports/${below}`)) yield key;
  }

  async #write(key: string, content: object, noted: Omit<Published, 'modRevision'>): Promise<void> {
    for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
      const svid = this.#options.svids.current();
      if (svid === undefined) throw fail('FEDERATION_NO_SVID', 'no SVID of the control plane to sign with yet');
      const sequence = this.#nextSequence();
      const value = signRecord(Buffer.from(JSON.stringify({ ...content, sequence })), svid);
      const known = this.#published.get(key);
      const fence = known === undefined ? { key, exists: false } : { key, modRevision: known.modRevision };
      const { ok, revision } = await this.#options.store.txn({ compare: [fence], then: [{ put: { key, value } }] });
      if (ok) {
        this.#published.set(key, { ...noted, modRevision: revision });
        this.#writes.inc({ kind: key === keys.sharedCluster() ? 'cluster' : key.startsWith(keys.sharedBans()) ? 'ban' : 'digest' });
        return;
      }
      await this.#readAgain(key);
    }
    throw fail('FEDERATION_WRITE_CONFLICT', `${key} is being written by somebody else as well`, { hint: 'only one control plane may publish for a cluster' });
  }

  async #delete(key: string): Promise<void> {
    await this.#options.store.delete(key);
    this.#published.delete(key);
  }

  #nextSequence(): number {
    this.#lastSequence = nextSequence(this.#lastSequence, this.#options.clock.nowMs());
    return this.#lastSequence;
  }

  async #readAgain(key: string): Promise<void> {
    const entry = await this.#options.store.get(key);
    if (entry === undefined) this.#published.delete(key);
    else this.#note(key, entry.value, entry.modRevision);
  }

  /** Takes over what stands in the store: its revision as fence, its sequence as floor, its content when we signed it. */
  #note(key: string, value: Uint8Array, modRevision: bigint): void {
    const { bundles, clock, trustDomain } = this.#options;
    const verdict = verifyRecord(value, {
      bundle: bundles.get(trustDomain),
      expectedId: spiffeIds.controlPlane(trustDomain as TrustDomain),
      nowMs: clock.nowMs(),
      maxBytes: MAX_RECORD_BYTES,
    });
    const record = verdict.ok ? readOwn(key, verdict.payload) : undefined;
    if (record !== undefined) this.#lastSequence = Math.max(this.#lastSequence, record.sequence);
    const digest = record?.kind === 'digest' ? record : undefined;
    // Content is left unknown: whether its signature is this life's is not known, and signing once more costs little.
    this.#published.set(key, { modRevision, content: undefined, service: serviceOfKey(key), totalCount: digest?.totalCount });
  }

  async #readPublished(): Promise<void> {
    const { entries } = await this.#options.store.list(keys.shared());
    const present = new Set(entries.map((e) => e.key));
    for (const key of [...this.#published.keys()]) if (!present.has(key)) this.#published.delete(key);
    for (const entry of entries) if (this.#published.get(entry.key)?.modRevision !== entry.modRevision) this.#note(entry.key, entry.value, entry.modRevision);
  }

  async #beat(): Promise<void> {
    const { clock, heartbeatIntervalMs, random } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        await this.#writeHeartbeat();
      } catch (thrown) {
        this.#failures.inc();
        this.#log.warn('heartbeat not written', { error: messageOf(thrown) });
      }
      await clock.sleep(heartbeatIntervalMs * (0.9 + 0.1 * random()), this.#stop.signal).catch(() => undefined);
    }
  }

  async #writeHeartbeat(): Promise<void> {
    const { cluster, trustDomain, locality, gateways, store } = this.#options;
    if (this.#stop.signal.aborted || this.#options.svids.current() === undefined) return;
    const content = { kind: 'cluster', cluster, trustDomain, locality, gateways: gateways() };
    await this.#write(keys.sharedCluster(), content, { content: undefined, service: undefined, totalCount: undefined });
    await store.put(SEQUENCE_KEY, String(this.#lastSequence));
  }

  /** Now and then compares all of shared/ with what should stand there, whatever events were missed (facts U3). */
  async #reconcile(): Promise<void> {
    const { clock, random } = this.#options;
    while (!this.#stop.signal.aborted) {
      await clock.sleep(RECONCILE_EVERY_MS * (0.9 + 0.2 * random()), this.#stop.signal).catch(() => undefined);
      if (this.#stop.signal.aborted) return;
      try {
        while (this.#flushing !== undefined) await this.#flushing;
        await this.#readPublished();
        this.#markAll();
      } catch (thrown) {
        this.#log.warn('shared records could not be compared', { error: messageOf(thrown) });
      }
    }
  }
}

function serviceOfKey(key: string): ServiceName | undefined {
  const [namespace, name] = key.slice(key.indexOf('/exports/') + '/exports/'.length).split('/');
  return key.includes('/exports/') && namespace !== undefined && name !== undefined ? { namespace, name } : undefined;
}

function readOwn(key: string, payload: Uint8Array): Digest | { readonly kind: 'cluster' | 'ban'; readonly sequence: number } | undefined {
  try {
    const json: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    const parsed = key === keys.sharedCluster() ? parseClusterRecord(json) : key.startsWith(keys.sharedBans()) ? parseBan(json) : parseDigest(json);
    return parsed.ok ? parsed.value : undefined;
  } catch {
    return undefined;
  }
}
