// The foreign trust domains of a cluster: declared in its store, polled at their hint, their last good bundles kept and handed out.
import { createHash } from 'node:crypto';
import { type FederatedTrustDomain, formatProblems, messageOf, parseFederatedTrustDomain, type Parsed, parseTrustDomain, refused, type TrustDomain } from '@isthmus/model';
import { type BundleDocument, type BundleSource, makeBundleDocument, openBundleSet, parseBundleDocument } from '@isthmus/pki';
import type { Clock, Random } from '@isthmus/runtime';
import { keys, type Store, type WatchEvent } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { advance, type LastGood, parseLastGood } from './advance.ts';
import { fetchBundle } from './fetch-bundle.ts';
import { foreignMetrics, type ForeignMetrics } from './metrics.ts';
import { openPoller, type Poller } from './poller.ts';

/** A foreign trust domain as operators see it. */
export type ForeignStatus = {
  readonly trustDomain: string;
  readonly profile: FederatedTrustDomain['source']['profile'];
  readonly url?: string;
  readonly spiffeId?: string;
  /** `ok`: the last poll, or the import, gave a good bundle. `failing`: the last good one stays. `none`: nobody is let in. */
  readonly state: 'ok' | 'failing' | 'none';
  readonly sequence?: number;
  readonly x509Authorities: number;
  readonly jwtAuthorities: number;
  /** SHA-256 of the document `exportBundle` gives. */
  readonly sha256?: string;
  /** Since its source last confirmed the bundle in force. */
  readonly ageMs?: number;
  readonly nextPollAtMs?: number;
  readonly lastError?: string;
};

export type ForeignTrustOptions = {
  readonly store: Store;
  /** The federation, whose names below it can never be foreign. */
  readonly federation: TrustDomain;
  /** The federation's own bundles: a trust domain that stands there is ours, whatever is declared. */
  readonly own: BundleSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** No endpoint is asked more often, whatever its hint says. 10 s. */
  readonly pollFloorMs?: number;
};

export interface ForeignTrust {
  /** One bundle for each foreign trust domain; never one of ours, never two merged. */
  readonly bundles: BundleSource;
  list(): readonly FederatedTrustDomain[];
  status(): readonly ForeignStatus[];
  /** The store's revision of a declaration; 0 where it is not there. */
  revisionOf(trustDomain: string): bigint;
  /** **Throws** what `declare` would, and writes nothing: IDENTITY_FOREIGN_IS_OURS, IDENTITY_FOREIGN_LIMIT. */
  check(declared: FederatedTrustDomain): void;
  /** Writes a declaration; whether it changed. **Throws** IDENTITY_FOREIGN_IS_OURS, IDENTITY_FOREIGN_LIMIT, STORE_*. */
  declare(declared: FederatedTrustDomain): Promise<boolean>;
  /** Takes back a declaration and its bundle; whether there was one. **Throws** STORE_*. */
  remove(trustDomain: string): Promise<boolean>;
  /**
   * Takes a bundle document brought by hand. **Throws** IDENTITY_FOREIGN_UNKNOWN, IDENTITY_BUNDLE_FINGERPRINT when it
   * has not that SHA-256 (hex), IDENTITY_BUNDLE_REFUSED when it is garbage, older or altered, STORE_*.
   */
  importBundle(trustDomain: string, document: Uint8Array, sha256?: string): Promise<{ readonly changed: boolean; readonly sequence: number }>;
  /** The bundle in force of a trust domain, foreign or ours, as a SPIFFE document. **Throws** IDENTITY_FOREIGN_UNKNOWN. */
  exportBundle(trustDomain: string): { readonly document: string; readonly sequence: number; readonly sha256: string };
  close(): Promise<void>;
}

/** The most foreign trust domains of a cluster. */
const MAX_FOREIGN = 64;
const MAX_RECORD_BYTES = 1024 * 1024;

/** Opens them from the store. Resolves once what is stored is known; waits for no endpoint. */
export async function openForeignTrust(options: ForeignTrustOptions): Promise<ForeignTrust> {
  const foreign = new StoredForeignTrust(options);
  await foreign.start();
  return foreign;
}

type Held = {
  readonly declared: FederatedTrustDomain;
  readonly revision: bigint;
  readonly poller: Poller | undefined;
};

class StoredForeignTrust implements ForeignTrust {
  readonly #options: ForeignTrustOptions;
  readonly #metrics: ForeignMetrics;
  readonly #set = openBundleSet();
  readonly #held = new Map<string, Held>();
  readonly #lastGood = new Map<string, LastGood>();
  readonly #stop = new AbortController();
  readonly #stopOwn: () => void;
  #watching: Promise<void> | undefined;

  constructor(options: ForeignTrustOptions) {
    this.#options = options;
    this.#metrics = foreignMetrics(options.metrics, options.clock, () => this.status());
    // A cluster that joins under a name declared foreign is ours from then on.
    this.#stopOwn = options.own.onChange(() => {
      for (const trustDomain of this.#held.keys()) this.#offer(trustDomain);
    });
  }

  get bundles(): BundleSource {
    return this.#set;
  }

  async start(): Promise<void> {
    const first = Promise.withResolvers<void>();
    this.#watching = this.#watch(first.resolve).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#options.log.error('watch of foreign trust domains ended', { error: messageOf(error) });
      first.reject(error);
    });
    await first.promise;
  }

  list(): readonly FederatedTrustDomain[] {
    return [...this.#held.values()].map((h) => h.declared).sort((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
  }

  status(): readonly ForeignStatus[] {
    return this.list().map((declared) => this.#statusOf(declared));
  }

  revisionOf(trustDomain: string): bigint {
    return this.#held.get(trustDomain)?.revision ?? 0n;
  }

  check({ trustDomain }: FederatedTrustDomain): void {
    if (this.#isOurs(trustDomain)) {
      throw fail('IDENTITY_FOREIGN_IS_OURS', `${trustDomain} is of this federation, so nobody else may vouch for it`);
    }
    if (!this.#held.has(trustDomain) && this.#held.size >= MAX_FOREIGN) {
      throw fail('IDENTITY_FOREIGN_LIMIT', `there are ${MAX_FOREIGN} foreign trust domains already`, { hint: 'drop one first' });
    }
  }

  async declare(declared: FederatedTrustDomain): Promise<boolean> {
    const { trustDomain } = declared;
    this.check(declared);
    const key = keys.federated(trustDomain, 'declared');
    const text = JSON.stringify(declared);
    if ((await this.#options.store.get(key))?.value.toString() === text) return false;
    await this.#options.store.put(key, text);
    this.#options.log.info('foreign trust domain declared', { trustDomain, profile: declared.source.profile });
    return true;
  }

  async remove(trustDomain: string): Promise<boolean> {
    const name = parseTrustDomain(trustDomain);
    if (!name.ok) return false;
    const { store, log } = this.#options;
    const key = keys.federated(trustDomain, 'declared');
    const { ok } = await store.txn({
      compare: [{ key, exists: true }],
      then: [{ delete: { key } }, { delete: { key: keys.federated(trustDomain, 'bundle') } }],
    });
    if (ok) log.info('foreign trust domain dropped', { trustDomain });
    return ok;
  }

  async importBundle(trustDomain: string, document: Uint8Array, sha256?: string): Promise<{ readonly changed: boolean; readonly sequence: number }> {
    if (!this.#held.has(trustDomain) && (await this.#options.store.get(keys.federated(trustDomain, 'declared'))) === undefined) throw unknown(trustDomain);
    const found = createHash('sha256').update(document).digest('hex');
    if (sha256 !== undefined && sha256.toLowerCase().replaceAll(':', '') !== found) {
      throw fail('IDENTITY_BUNDLE_FINGERPRINT', `the document of ${trustDomain} has SHA-256 ${found}, expected was ${sha256.slice(0, 100)}`, { hint: 'ask whoever runs that trust domain for the right fingerprint' });
    }
    const parsed = parseBundleDocument(document, trustDomain as TrustDomain);
    if (!parsed.ok) throw fail('IDENTITY_BUNDLE_REFUSED', `this is no bundle document: ${formatProblems(parsed.problems)}`, { facts: { reason: 'garbage' } });
    const changed = await this.#take(trustDomain, parsed.value, 'import');
    this.#held.get(trustDomain)?.poller?.pollSoon();
    return { changed, sequence: this.#lastGood.get(trustDomain)?.bundle.sequence ?? parsed.value.bundle.sequence };
  }

  exportBundle(trustDomain: string): { readonly document: string; readonly sequence: number; readonly sha256: string } {
    const bundle = this.#options.own.get(trustDomain) ?? this.#set.get(trustDomain);
    if (bundle === undefined) throw unknown(trustDomain);
    const document = makeBundleDocument(bundle);
    return { document, sequence: bundle.sequence, sha256: createHash('sha256').update(document).digest('hex') };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#stopOwn();
    this.#metrics.close();
    await Promise.all([...this.#held.values()].map((h) => h.poller?.close()));
    await this.#watching;
  }

  #isOurs(trustDomain: string): boolean {
    const { federation, own } = this.#options;
    return trustDomain === federation || trustDomain.endsWith(`.${federation}`) || own.get(trustDomain) !== undefined;
  }

  async #watch(onFirst: () => void): Promise<void> {
    for await (const event of this.#options.store.watch(keys.allFederated(), { signal: this.#stop.signal })) {
      this.#see(event);
      if (event.kind === 'snapshot') onFirst();
    }
  }

  #see(event: WatchEvent): void {
    switch (event.kind) {
      case 'snapshot': {
        const there = new Set(event.entries.map((e) => e.key));
        for (const trustDomain of [...this.#held.keys()]) if (!there.has(keys.federated(trustDomain, 'declared'))) this.#forget(trustDomain);
        // Bundles first: then the first poll has one to prove its endpoint by.
        for (const e of [...event.entries].sort((a, b) => (a.key < b.key ? -1 : 1))) this.#read(e.key, e.value, e.modRevision);
        return;
      }
      case 'put':
        return this.#read(event.key, event.value, event.modRevision);
      case 'delete': {
        const [, trustDomain = '', part] = event.key.split('/');
        if (part === 'declared') this.#forget(trustDomain);
        return;
      }
      case 'unknown':
      case 'known':
        return; // What is held stays in force.
    }
  }

  #read(key: string, value: Buffer, revision: bigint): void {
    const [, trustDomain = '', part] = key.split('/');
    const skip = (reason: string): void => this.#options.log.warn('record of a foreign trust domain does not parse, skipped', { key, reason });
    if (part === 'declared') {
      const declared = readRecord(value, parseFederatedTrustDomain);
      if (!declared.ok) return skip(formatProblems(declared.problems));
      if (declared.value.trustDomain !== trustDomain) return skip(`says it is ${declared.value.trustDomain}`);
      this.#hold(declared.value, revision);
    } else if (part === 'bundle') {
      const lastGood = readRecord(value, parseLastGood);
      if (!lastGood.ok) return skip(formatProblems(lastGood.problems));
      if (lastGood.value.bundle.trustDomain !== trustDomain) return skip(`holds a bundle of ${lastGood.value.bundle.trustDomain}`);
      const known = this.#lastGood.get(trustDomain);
      // A store brought back from a backup takes nothing back.
      if (known !== undefined && known.bundle.sequence > lastGood.value.bundle.sequence) return;
      this.#lastGood.set(trustDomain, lastGood.value);
    }
    this.#offer(trustDomain);
  }

  #hold(declared: FederatedTrustDomain, revision: bigint): void {
    const { trustDomain, source } = declared;
    const before = this.#held.get(trustDomain);
    if (before !== undefined && JSON.stringify(before.declared) === JSON.stringify(declared)) {
      this.#held.set(trustDomain, { ...before, revision });
      return;
    }
    void before?.poller?.close();
    const { clock, random, pollFloorMs = 10_000 } = this.#options;
    const poller =
      source.profile === 'file'
        ? undefined
        : openPoller({ clock, random, floorMs: pollFloorMs, hintSeconds: () => this.#lastGood.get(trustDomain)?.bundle.refreshHintSeconds, poll: (signal) => this.#poll(declared, signal) });
    this.#held.set(trustDomain, { declared, revision, poller });
  }

  #forget(trustDomain: string): void {
    void this.#held.get(trustDomain)?.poller?.close();
    this.#held.delete(trustDomain);
    this.#lastGood.delete(trustDomain);
    this.#set.remove(trustDomain);
    this.#metrics.forget(trustDomain);
  }

  /** Puts a bundle in force, or takes it out, as what is declared and whose name it is allow. */
  #offer(trustDomain: string): void {
    const lastGood = this.#lastGood.get(trustDomain);
    if (this.#isOurs(trustDomain)) {
      if (this.#held.has(trustDomain)) this.#options.log.error('a trust domain of this federation is declared foreign; the declaration is not in force', { trustDomain });
      this.#set.remove(trustDomain);
    } else if (lastGood !== undefined && this.#held.has(trustDomain)) this.#set.update(lastGood.bundle);
  }

  async #poll(declared: FederatedTrustDomain, signal: AbortSignal): Promise<void> {
    const { trustDomain, source } = declared;
    const { clock, log } = this.#options;
    if (source.profile === 'file') return;
    try {
      const document = await fetchBundle({ trustDomain: trustDomain as TrustDomain, endpoint: source, lastGood: this.#lastGood.get(trustDomain)?.bundle, nowMs: clock.nowMs(), signal });
      await this.#take(trustDomain, document, 'endpoint');
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#metrics.refused(trustDomain, error);
      log.warn('no new bundle of a foreign trust domain, the last good one is kept', { trustDomain, error: messageOf(error) });
      throw error;
    }
  }

  /** Writes what is newer, and that it was confirmed; whether it changed. Against another replica doing the same, by compare. */
  async #take(trustDomain: string, document: BundleDocument, from: LastGood['from']): Promise<boolean> {
    const { store, clock, log } = this.#options;
    const [declaredKey, key] = [keys.federated(trustDomain, 'declared'), keys.federated(trustDomain, 'bundle')];
    for (let attempt = 0; attempt < 5; attempt++) {
      const stored = await store.get(key);
      const read = stored === undefined ? undefined : readRecord(stored.value, parseLastGood);
      const known = newer(read?.ok === true ? read.value : undefined, this.#lastGood.get(trustDomain));
      const next = advance(known, document);
      if (next.kind === 'refuse') throw fail('IDENTITY_BUNDLE_REFUSED', `the bundle of ${trustDomain} is not taken: ${next.detail}`, { facts: { reason: next.reason } });
      const nowMs = clock.nowMs();
      const record: LastGood =
        next.kind === 'same' && known !== undefined
          ? // The hint is no key: the latest counts, without a new sequence.
            { ...known, bundle: { ...known.bundle, refreshHintSeconds: document.bundle.refreshHintSeconds }, confirmedAtMs: nowMs }
          : { version: 1, bundle: next.kind === 'take' ? next.bundle : document.bundle, isNumbered: next.kind === 'take' && next.isNumbered, from, takenAtMs: nowMs, confirmedAtMs: nowMs };
      const { ok } = await store.txn({
        // Undeclared meanwhile: nothing is left behind.
        compare: [{ key: declaredKey, exists: true }, stored === undefined ? { key, exists: false } : { key, modRevision: stored.modRevision }],
        then: [{ put: { key, value: JSON.stringify(record) } }],
      });
      if (ok) {
        this.#lastGood.set(trustDomain, record);
        this.#offer(trustDomain);
        if (next.kind === 'take') log.info('bundle of a foreign trust domain taken', { trustDomain, sequence: record.bundle.sequence, x509Authorities: record.bundle.x509Authorities.length, from });
        return next.kind === 'take';
      }
      if ((await store.get(declaredKey)) === undefined) throw unknown(trustDomain);
    }
    throw fail('IDENTITY_BUNDLE_UNREACHABLE', `the bundle of ${trustDomain} is being written by others; ask again`);
  }

  #statusOf({ trustDomain, source }: FederatedTrustDomain): ForeignStatus {
    const lastGood = this.#lastGood.get(trustDomain);
    const poll = this.#held.get(trustDomain)?.poller?.status();
    const error = this.#isOurs(trustDomain) ? 'a trust domain of this federation cannot be foreign' : poll?.lastError;
    const inForce = this.#set.get(trustDomain);
    return {
      trustDomain,
      profile: source.profile,
      ...(source.profile !== 'file' && { url: source.url }),
      ...(source.profile === 'https_spiffe' && { spiffeId: source.spiffeId }),
      state: inForce === undefined ? 'none' : error === undefined ? 'ok' : 'failing',
      ...(inForce !== undefined && { sequence: inForce.sequence, sha256: this.exportBundle(trustDomain).sha256 }),
      x509Authorities: inForce?.x509Authorities.length ?? 0,
      jwtAuthorities: inForce?.jwtAuthorities?.length ?? 0,
      ...(lastGood !== undefined && { ageMs: Math.max(0, this.#options.clock.nowMs() - lastGood.confirmedAtMs) }),
      ...(poll !== undefined && { nextPollAtMs: poll.nextAtMs }),
      ...(error !== undefined && { lastError: error }),
    };
  }
}

function newer(a: LastGood | undefined, b: LastGood | undefined): LastGood | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.bundle.sequence > a.bundle.sequence ? b : a;
}

function readRecord<T>(value: Buffer, parse: (input: unknown) => Parsed<T>): Parsed<T> {
  if (value.byteLength > MAX_RECORD_BYTES) return refused('', `larger than ${MAX_RECORD_BYTES} bytes`);
  try {
    return parse(JSON.parse(value.toString('utf8')));
  } catch {
    return refused('', 'is not JSON');
  }
}

function unknown(trustDomain: string): Error {
  return fail('IDENTITY_FOREIGN_UNKNOWN', `${trustDomain.slice(0, 255)} is no trust domain known here`, { hint: 'isthmus trust list shows those that are; isthmus trust federate adds one' });
}
