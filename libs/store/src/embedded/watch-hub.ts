// Watches of the embedded server. A watcher is either level with the state, and is handed each commit, or behind (it
// started in the past, or its reader is slow) and reads on from history; so nothing is buffered for a slow reader.
import { etcd, EVENT_DELETE, EVENT_PUT, NO_BYTES, type WireEvent } from '../wire.ts';
import { MAX_REQUEST_BYTES } from './check.ts';
import { type Change, inSpan, type Mvcc, type Span, toKeyValue } from './mvcc.ts';

const HISTORY_CHUNK = 1000;
const MAX_RESPONSE_BYTES = 1024 * 1024;

/** The server's side of one watch stream. */
export interface WatchSink {
  /** False when the reader is slow; `onDrain` follows. */
  write(response: etcd.WatchResponse): boolean;
}

type Watcher = {
  readonly id: bigint;
  readonly span: Span;
  readonly request: etcd.WatchCreateRequest;
  /** The first revision not yet looked at. */
  next: bigint;
  isLevel: boolean;
  sentSinceNotify: boolean;
};

/** All streams of a server; handed every commit. */
export class WatchHub {
  readonly #mvcc: Mvcc;
  readonly #header: (revision?: bigint) => etcd.ResponseHeader;
  readonly #streams = new Set<WatchStream>();

  constructor(mvcc: Mvcc, header: (revision?: bigint) => etcd.ResponseHeader) {
    this.#mvcc = mvcc;
    this.#header = header;
  }

  open(sink: WatchSink): WatchStream {
    const stream = new WatchStream(sink, this.#mvcc, this.#header, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  publish(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    const byRevision = Map.groupBy(changes, (change) => change.rev);
    for (const stream of this.#streams) for (const [revision, events] of byRevision) stream.publish(revision, events);
  }

  /** etcd's periodic progress notification for watchers that asked for it and heard nothing since the last one. */
  notifyProgress(): void {
    for (const stream of this.#streams) stream.notifyProgress();
  }
}

/** One Watch call: any number of watchers, one ordered stream of responses. */
export class WatchStream {
  readonly #sink: WatchSink;
  readonly #mvcc: Mvcc;
  readonly #header: (revision?: bigint) => etcd.ResponseHeader;
  readonly #onClose: () => void;
  readonly #watchers = new Map<bigint, Watcher>();
  #nextId = 0n;
  #isBlocked = false;
  #isClosed = false;
  #pumping = false;
  #progressWanted = false;

  constructor(sink: WatchSink, mvcc: Mvcc, header: (revision?: bigint) => etcd.ResponseHeader, onClose: () => void) {
    this.#sink = sink;
    this.#mvcc = mvcc;
    this.#header = header;
    this.#onClose = onClose;
  }

  handle(request: etcd.WatchRequest): void {
    const union = request.requestUnion;
    switch (union?.$case) {
      case 'createRequest':
        this.#create(union.value);
        break;
      case 'cancelRequest':
        if (this.#watchers.delete(union.value.watchId)) this.#send({ watchId: union.value.watchId, canceled: true });
        break;
      case 'progressRequest':
        this.#progressWanted = true;
        this.#pump();
        break;
      default:
    }
  }

  publish(revision: bigint, changes: readonly Change[]): void {
    for (const watcher of this.#watchers.values()) {
      if (!watcher.isLevel || watcher.next > revision) continue;
      if (this.#isBlocked) {
        watcher.isLevel = false;
        continue;
      }
      watcher.next = revision + 1n;
      this.#sendChanges(watcher, changes, revision);
    }
  }

  notifyProgress(): void {
    for (const watcher of this.#watchers.values()) {
      if (watcher.request.progressNotify && watcher.isLevel && !watcher.sentSinceNotify && !this.#isBlocked) this.#send({ watchId: watcher.id });
      watcher.sentSinceNotify = false;
    }
  }

  onDrain(): void {
    this.#isBlocked = false;
    this.#pump();
  }

  close(): void {
    this.#isClosed = true;
    this.#watchers.clear();
    this.#onClose();
  }

  #create(request: etcd.WatchCreateRequest): void {
    // etcd: no key means from the first one; a range end of one zero byte means to the last one.
    const span: Span = { key: request.key.length === 0 ? Buffer.from([0]) : request.key, end: request.rangeEnd };
    const isOpenEnd = span.end.length === 1 && span.end[0] === 0;
    if (span.end.length > 0 && !isOpenEnd && span.key.compare(span.end) >= 0) return this.#refuse('mvcc: watcher range is empty');
    if (request.watchId !== 0n && this.#watchers.has(request.watchId)) return this.#refuse('mvcc: duplicate watch ID provided on the WatchStream');
    while (this.#watchers.has(this.#nextId)) this.#nextId += 1n;
    const id = request.watchId === 0n ? this.#nextId : request.watchId;
    const current = this.#mvcc.revision;
    const next = request.startRevision > 0n ? request.startRevision : current + 1n;
    this.#watchers.set(id, { id, span, request, next, isLevel: next > current, sentSinceNotify: false });
    this.#send({ watchId: id, created: true });
    this.#pump();
  }

  #refuse(cancelReason: string): void {
    this.#send({ watchId: -1n, created: true, canceled: true, cancelReason });
  }

  /** Brings watchers that are behind level, a chunk at a time, giving way to other work in between. */
  #pump(): void {
    if (this.#pumping || this.#isClosed) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      if (this.#isClosed || this.#isBlocked) return;
      let isBehind = false;
      for (const watcher of [...this.#watchers.values()]) {
        if (!watcher.isLevel && !this.#isBlocked) this.#catchUp(watcher);
        isBehind ||= !watcher.isLevel && this.#watchers.has(watcher.id);
      }
      if (isBehind) this.#pump();
      else if (this.#progressWanted) {
        // Only now: a progress report says that everything up to its revision was sent.
        this.#progressWanted = false;
        this.#send({ watchId: -1n });
      }
    });
  }

  #catchUp(watcher: Watcher): void {
    if (watcher.next < this.#mvcc.compactedRevision) {
      this.#watchers.delete(watcher.id);
      const cancelReason = 'etcdserver: mvcc: required revision has been compacted';
      this.#send({ watchId: watcher.id, canceled: true, compactRevision: this.#mvcc.compactedRevision, cancelReason });
      return;
    }
    const { changes, next } = this.#mvcc.history(watcher.span, watcher.next, HISTORY_CHUNK);
    watcher.next = next > watcher.next ? next : watcher.next;
    watcher.isLevel = watcher.next > this.#mvcc.revision;
    let batch: Change[] = [];
    let bytes = 0;
    for (const [, events] of Map.groupBy(changes, (change) => change.rev)) {
      const size = events.reduce((sum, change) => sum + sizeOf(change), 0);
      if (batch.length > 0 && bytes + size > MAX_RESPONSE_BYTES) {
        this.#sendChanges(watcher, batch, this.#mvcc.revision);
        batch = [];
        bytes = 0;
      }
      batch.push(...events);
      bytes += size;
    }
    this.#sendChanges(watcher, batch, this.#mvcc.revision);
  }

  #sendChanges(watcher: Watcher, changes: readonly Change[], revision: bigint): void {
    const { filters, prevKv, fragment } = watcher.request;
    const wanted = changes.filter(
      (change) => inSpan(watcher.span, change.key) && !filters.includes(change.deleted ? FILTER.NODELETE : FILTER.NOPUT),
    );
    if (wanted.length === 0) return;
    watcher.sentSinceNotify = true;
    const parts = fragment ? split(wanted) : [wanted];
    for (const [i, part] of parts.entries()) {
      const events = part.map((change) => this.#toEvent(change, prevKv));
      this.#send({ watchId: watcher.id, events, fragment: i < parts.length - 1 }, revision);
    }
  }

  #toEvent(change: Change, withPrevious: boolean): WireEvent {
    const previous = withPrevious ? this.#mvcc.before(change.key, change.rev) : undefined;
    const kv = change.deleted
      ? { key: change.key, modRevision: change.rev, createRevision: 0n, version: 0n, value: NO_BYTES, lease: 0n }
      : toKeyValue(change);
    return { type: change.deleted ? EVENT_DELETE : EVENT_PUT, kv, prevKv: previous === undefined ? undefined : toKeyValue(previous) };
  }

  #send(response: Partial<etcd.WatchResponse>, revision?: bigint): void {
    if (this.#isClosed) return;
    const whole: etcd.WatchResponse = {
      header: this.#header(revision),
      watchId: 0n,
      created: false,
      canceled: false,
      compactRevision: 0n,
      cancelReason: '',
      fragment: false,
      events: [],
      ...response,
    };
    if (!this.#sink.write(whole)) this.#isBlocked = true;
  }
}

const FILTER = etcd.WatchCreateRequest_FilterType;

function sizeOf(change: Change): number {
  return change.key.length + change.value.length + 64;
}

/** Cuts the events of a response so that no message is over etcd's request limit. */
function split(changes: readonly Change[]): Change[][] {
  const parts: Change[][] = [[]];
  let bytes = 0;
  for (const change of changes) {
    const size = sizeOf(change);
    if (bytes > 0 && bytes + size > MAX_REQUEST_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(change);
    bytes += size;
  }
  return parts;
}
