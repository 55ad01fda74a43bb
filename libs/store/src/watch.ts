// A watch that never lies: list, then changes from there; cut off it says so, and comes back without losing, repeating or
// making up anything (decision 0003).
import { messageOf } from '@isthmus/model';
import { backoff } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { type CallParts, read, ReadFault } from './calls.ts';
import { fail } from './errors.ts';
import { prefixRange } from './keys.ts';
import { KnownKeys, type RawEvent } from './known-keys.ts';
import { faultKind, type ReadLink } from './link.ts';
import { type ListLimits, listWhole, toEntry, type WholeList } from './list.ts';
import type { WatchEvent, WatchOptions } from './store.ts';
import { StreamEnded, StreamReader } from './stream-reader.ts';
import { type etcd, EVENT_DELETE, rangeRequest, watchCreateRequest, type WireEvent } from './wire.ts';

export interface WatchParts {
  readonly link: ReadLink;
  readonly calls: CallParts;
  readonly log: Log;
  readonly prefix: string;
  readonly limits: ListLimits;
  readonly times: { readonly watchIdleMs: number; readonly watchDeadlineMs: number; readonly auditEveryMs: number; readonly backoffBaseMs: number; readonly backoffMaxMs: number };
}

/** A watch that has to be opened anew, and why. */
class Cut extends Error {
  readonly reason: 'error' | 'stalled' | 'compacted' | 'restored';

  constructor(reason: Cut['reason'], message: string) {
    super(message);
    this.name = 'Cut';
    this.reason = reason;
  }
}

type Start = 'list' | 'restored' | 'diff' | 'resume';

/** States: no list yet → known ⇄ unknown. `known → unknown` on any cut; `unknown → known` when level with what the store had at the reconnect. */
export async function* watchPrefix(parts: WatchParts, below: string, options: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
  const { signal } = options;
  const watch = new PrefixWatch(parts, below, options);
  const { clock, random, metrics } = parts.calls;
  const delay = backoff({ baseMs: parts.times.backoffBaseMs, maxMs: parts.times.backoffMaxMs, random });
  while (!signal.aborted) {
    try {
      for await (const event of watch.session()) {
        delay.reset();
        yield event;
        if (signal.aborted) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isFinal(error)) throw error;
      const reason = error instanceof Cut ? error.reason : 'error';
      metrics.watchCuts.inc({ reason });
      parts.log.warn('watch of the store was cut off', { prefix: below, reason, error: messageOf(error) });
      watch.cut(reason);
      const unknown = watch.becomeUnknown();
      if (unknown !== undefined) yield unknown;
      await clock.sleep(delay.nextMs(), signal).catch(() => undefined);
    }
  }
}

class PrefixWatch {
  readonly #parts: WatchParts;
  readonly #below: string;
  readonly #options: WatchOptions;
  readonly #known: KnownKeys;
  #state: 'none' | 'known' | 'unknown' = 'none';
  #cutAtMs: number | undefined;
  #start: Start = 'list';
  #auditMonotonicMs: number;
  /** What the store was at when it was last found to be the one we knew. */
  #checkedRevision = 0n;

  constructor(parts: WatchParts, below: string, options: WatchOptions) {
    this.#parts = parts;
    this.#below = below;
    this.#options = options;
    this.#known = new KnownKeys(parts.limits);
    this.#auditMonotonicMs = parts.calls.clock.monotonicMs() + parts.times.auditEveryMs;
  }

  cut(reason: Cut['reason']): void {
    if (this.#known.revision === 0n) return;
    // A list that did not arrive stays due.
    if (reason === 'restored') this.#start = 'restored';
    else if (reason === 'compacted' && this.#start !== 'restored') this.#start = 'diff';
  }

  becomeUnknown(): WatchEvent | undefined {
    if (this.#state === 'unknown') return undefined;
    this.#state = 'unknown';
    this.#noteCut();
    return { kind: 'unknown', sinceMs: this.#cutAtMs ?? this.#parts.calls.clock.nowMs() };
  }

  /** One connection: whatever has to be made up for, then changes until it is cut. Ends only by throwing, or by the signal. */
  async *session(): AsyncGenerator<WatchEvent, void, undefined> {
    if (this.#start === 'resume') this.#start = await this.#isSameHistory();
    let target: bigint;
    if (this.#start === 'resume') target = this.#checkedRevision;
    else {
      const list = await this.#list();
      target = list.revision;
      yield* this.#tellList(list);
      this.#start = 'resume';
    }
    yield* this.#follow(target);
  }

  *#tellList(list: WholeList): Generator<WatchEvent, void, undefined> {
    const isFirst = this.#known.revision === 0n;
    if (!isFirst && (this.#start === 'restored' || this.#known.contradicts(list))) {
      this.#alarm(list);
      this.#known.reset(list);
      yield { kind: 'snapshot', reason: 'restored', entries: list.entries, revision: list.revision };
    } else if (isFirst) {
      this.#known.reset(list);
      yield { kind: 'snapshot', reason: 'first', entries: list.entries, revision: list.revision };
      if (this.#state === 'none') this.#become('known');
    } else yield* this.#tellDifference(list);
  }

  *#tellDifference(list: WholeList): Generator<WatchEvent, number, undefined> {
    const before = this.#known.size;
    const { changes, deletes } = this.#known.diff(list);
    if (before >= 20 && deletes > before / 2) {
      this.#parts.calls.metrics.massDeletes.inc();
      this.#parts.log.error('more than half of the known keys are gone from the store', { prefix: this.#below, known: before, deleted: deletes });
    }
    yield* changes;
    return changes.length;
  }

  async *#follow(target: bigint): AsyncGenerator<WatchEvent, void, undefined> {
    const { link, calls, times } = this.#parts;
    const { signal } = this.#options;
    const reader = new StreamReader(await link.watch(), calls.clock, () => this.#noteCut());
    const abort = (): void => reader.close();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) return;
      const { key, rangeEnd } = prefixRange(this.#parts.prefix + this.#below);
      // From the last revision told, not the one after: if it is compacted by then we are told so, where etcd before 3.6
      // silently leaves out deletes at exactly the compacted revision. What is told twice is dropped.
      const startRevision = this.#known.revision > 0n ? this.#known.revision : 1n;
      reader.write({ requestUnion: { $case: 'createRequest', value: watchCreateRequest({ key, rangeEnd, startRevision, progressNotify: true, fragment: true }) } });
      let limitMs = times.watchDeadlineMs;
      let isAsked = true;
      for (;;) {
        const toAuditMs = this.#auditMonotonicMs - calls.clock.monotonicMs();
        const response = await reader.next(isAsked ? limitMs : Math.min(limitMs, Math.max(0, toAuditMs)));
        if (response === undefined && isAsked) throw new Cut('stalled', `no answer from the store in ${limitMs} ms`);
        if (response === undefined && toAuditMs <= 0) yield* this.#audit();
        else if (response === undefined) {
          reader.write(PROGRESS_REQUEST);
          isAsked = true;
          limitMs = times.watchDeadlineMs;
          continue;
        } else {
          yield* this.#takeResponse(response);
          if (response.created && this.#state === 'unknown') {
            reader.write(PROGRESS_REQUEST);
            continue;
          }
          if (this.#state === 'unknown' && this.#isLevel(response, target)) {
            this.#become('known');
            yield { kind: 'known' };
          }
          // Level again needs an answer to the progress request; until then its deadline stands.
          if (this.#state === 'unknown') continue;
        }
        isAsked = false;
        limitMs = times.watchIdleMs;
      }
    } catch (error) {
      if (error instanceof StreamEnded && !signal.aborted && faultKind(error.fault) === 'denied') throw denied(this.#below, error.message);
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      reader.close();
    }
  }

  *#takeResponse(response: etcd.WatchResponse): Generator<WatchEvent, void, undefined> {
    if (response.compactRevision > 0n) throw new Cut('compacted', `the store compacted revision ${response.compactRevision}`);
    if (response.canceled) {
      if (/permission denied/.test(response.cancelReason)) throw denied(this.#below, response.cancelReason);
      throw new Cut('error', `the store cancelled the watch: ${response.cancelReason}`);
    }
    const clusterId = response.header?.clusterId ?? this.#known.clusterId;
    if (clusterId !== this.#known.clusterId) throw new Cut('restored', 'the store has another cluster id');
    for (const event of response.events) {
      const raw = toRaw(event, this.#parts.prefix);
      if (raw === undefined) continue;
      const taken = this.#known.take(raw);
      if (taken.kind === 'new') yield taken.change;
      else if (taken.kind === 'old') this.#parts.calls.metrics.oldEvents.inc();
      else if (taken.kind === 'skipped') this.#parts.calls.metrics.skipped.inc({ reason: taken.reason });
    }
  }

  #isLevel(response: etcd.WatchResponse, target: bigint): boolean {
    if (this.#known.revision >= target) return true;
    const isProgress = response.events.length === 0 && !response.created;
    return isProgress && (response.header?.revision ?? 0n) >= target;
  }

  /** Compares what was told with a fresh list, against watches that are alive and silent (etcd issue 17529). */
  async *#audit(): AsyncGenerator<WatchEvent, void, undefined> {
    const { calls, times, log } = this.#parts;
    this.#auditMonotonicMs = calls.clock.monotonicMs() + times.auditEveryMs;
    const list = await this.#list();
    if (this.#known.contradicts(list)) throw new Cut('restored', 'the store went back in time');
    const differences = yield* this.#tellDifference(list);
    if (differences === 0) return;
    calls.metrics.auditDifferences.inc({}, differences);
    log.debug('audit of a watch found changes not told yet', { prefix: this.#below, changes: differences });
  }

  /** After a cut: is this the store we knew, at or past what we knew? A linearizable read, so a member that lags behind does not look like a restored backup. */
  async #isSameHistory(): Promise<Start> {
    const { link, calls, prefix } = this.#parts;
    const { witness, revision, clusterId } = this.#known;
    const key = Buffer.from(prefix + (witness?.key ?? this.#below));
    const ask = (at: bigint) => read(calls, 'check', (deadlineMs) => link.range(rangeRequest({ key, revision: at, keysOnly: true, limit: 1n }), deadlineMs));
    const now = await ask(0n);
    this.#checkedRevision = now.header?.revision ?? 0n;
    if (now.header?.clusterId !== clusterId || this.#checkedRevision < revision) return 'restored';
    if (witness === undefined || now.kvs[0]?.modRevision === witness.modRevision) return 'resume';
    try {
      // It changed since: then history must have it as we saw it.
      const then = await ask(witness.modRevision);
      return then.kvs[0]?.modRevision === witness.modRevision ? 'resume' : 'restored';
    } catch (error) {
      // Compacted: only a list can say.
      if (error instanceof ReadFault) return 'diff';
      throw error;
    }
  }

  #list(): Promise<WholeList> {
    const { link, calls, prefix, limits } = this.#parts;
    return listWhole(link, calls, prefix, this.#below, limits);
  }

  #alarm(list: WholeList): void {
    this.#parts.calls.metrics.restored.inc();
    this.#parts.log.error('the store went back in time or is another one; taking its state anew', {
      prefix: this.#below,
      knownRevision: this.#known.revision,
      revision: list.revision,
    });
  }

  #noteCut(): void {
    if (this.#cutAtMs !== undefined || this.#options.signal.aborted) return;
    this.#cutAtMs = this.#parts.calls.clock.nowMs();
    this.#options.onState?.('unknown');
  }

  #become(state: 'known'): void {
    this.#state = state;
    this.#cutAtMs = undefined;
    this.#options.onState?.(state);
  }
}

const PROGRESS_REQUEST: etcd.WatchRequest = { requestUnion: { $case: 'progressRequest', value: {} } };

function toRaw(event: WireEvent, prefix: string): RawEvent | undefined {
  if (event.kv === undefined) return undefined;
  const entry = toEntry(event.kv, prefix);
  return event.type === EVENT_DELETE ? { kind: 'delete', key: entry.key, modRevision: entry.modRevision } : { kind: 'put', entry };
}

function denied(below: string, why: string): Error {
  return fail('STORE_DENIED', `the store refuses the watch of ${below}: ${why}`);
}

function isFinal(error: unknown): boolean {
  const code = (error as { readonly code?: unknown }).code;
  return code === 'STORE_DENIED' || code === 'STORE_CLOSED';
}
