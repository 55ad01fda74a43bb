// One writer: every write of one turn of the event loop becomes one SQLite transaction, so they share one fsync.
import { messageOf } from '@isthmus/model';
import type { Log } from '@isthmus/telemetry';
import type { Lessor } from './lessor.ts';
import type { Change, Mvcc } from './mvcc.ts';
import { EtcdRefusal, refuse } from './refusal.ts';
import { status } from '../grpc.ts';

type Write = { readonly apply: () => unknown; readonly resolve: (value: never) => void; readonly reject: (error: unknown) => void };

/** More writes waiting than this and new ones are refused. Source: etcd's own bound, maxGapBetweenApplyAndCommitIndex. */
const MAX_WAITING = 5000;
const SQLITE_FULL = 13;

export class WriteQueue {
  readonly #mvcc: Mvcc;
  readonly #lessor: Lessor;
  readonly #publish: (changes: readonly Change[]) => void;
  readonly #log: Log;
  #waiting: Write[] = [];
  #isClosed = false;

  constructor(mvcc: Mvcc, lessor: Lessor, publish: (changes: readonly Change[]) => void, log: Log) {
    this.#mvcc = mvcc;
    this.#lessor = lessor;
    this.#publish = publish;
    this.#log = log;
  }

  /** Runs `apply` in the next transaction; resolves once it is on disk. An EtcdRefusal refuses this write alone. */
  run<T>(apply: () => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(refuse.stopped());
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(new EtcdRefusal(status.RESOURCE_EXHAUSTED, 'etcdserver: too many requests'));
    }
    return new Promise<T>((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ apply, resolve: resolve as (value: never) => void, reject });
    });
  }

  close(): void {
    this.#flush();
    this.#isClosed = true;
  }

  #flush(): void {
    const writes = this.#waiting;
    this.#waiting = [];
    if (writes.length === 0 || this.#isClosed) return;
    const answers: (() => void)[] = [];
    let changes: Change[];
    try {
      this.#mvcc.begin();
      for (const write of writes) answers.push(runOne(write));
      changes = this.#mvcc.commit();
    } catch (error) {
      // Nothing of this turn is on disk: everyone is told so, and memory goes back to what is.
      this.#mvcc.rollback();
      this.#lessor.reload();
      this.#log.error('store could not write to its file', { error: messageOf(error) });
      const isFull = ((error as { errcode?: number }).errcode ?? 0) === SQLITE_FULL;
      const refusal = isFull ? refuse.noSpace() : new EtcdRefusal(status.INTERNAL, `etcdserver: ${messageOf(error)}`);
      for (const write of writes) write.reject(refusal);
      return;
    }
    for (const answer of answers) answer();
    this.#publish(changes);
  }
}

/** Refusals come before the first change of a request, so the others of the same turn are not touched by them. */
function runOne(write: Write): () => void {
  try {
    const value = write.apply();
    return () => write.resolve(value as never);
  } catch (error) {
    if (!(error instanceof EtcdRefusal)) throw error;
    return () => write.reject(error);
  }
}
