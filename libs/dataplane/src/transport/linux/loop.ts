// One thread's event loop on epoll: owns the descriptors, hands out events and timers, and lets Node's own loop have its turn.
import { performance } from 'node:perf_hooks'; // the global is a getter, and costs every turn a look-up
import type { Clock, TimerHandle } from '@isthmus/runtime';
import { sleepOn } from '@isthmus/runtime';
import { clearEventFd, close, EINTR, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, epollControl, epollCreate, EPOLLIN, epollWait, errno, errorName, EVENT_BYTES, EVENT_DATA_AT, fixedMemory, openEventFd, signalEventFd } from './libc.ts';
import { TimerHeap } from './timer-heap.ts';

/** What owns a descriptor in the loop. */
export interface Watched {
  /** `events`: EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP. */
  onEvents(events: number): void;
}

/** What gathered bytes and wants to send them at the end of this turn, together. */
export interface Flushed {
  flush(): void;
}

const EVENTS = 512;
/** While Node itself has work under way (a name lookup), the loop looks in that often. */
const HELD_MS = 1;
const LONGEST_WAIT_MS = 500;

/** **Owns** one epoll instance, one eventfd and every timer; `close` ends them. One per thread. */
export class Loop {
  /** Room to read into, shared by all streams of the thread. */
  readonly clock: Clock;
  readonly #epoll = epollCreate();
  readonly #wakeFd = openEventFd();
  readonly #events = fixedMemory(EVENTS * EVENT_BYTES);
  readonly #view = new DataView(this.#events.bytes.buffer);
  // A slot's number carries a generation, so that an event for a descriptor closed in the same batch meets nobody.
  #watched: (Watched | undefined)[] = [];
  #generation: number[] = [];
  #free: number[] = [];
  #dirty: Flushed[] = [];
  #flushing: Flushed[] = [];
  #later: Flushed[] = [];
  #held = 0;
  #closed = false;
  #woken = false;
  #busy = false;
  #onWake: () => void = () => undefined;
  readonly #timers = new TimerHeap();
  readonly #onError: (error: unknown) => void;

  /**
   * `onError`: what a handler threw; the loop itself goes on (reliability 68). `sharesThread`: much else runs on this
   * thread through Node's own loop, which then never waits longer than a millisecond for this one. `descriptors`: one
   * byte each, kept at 1 for every descriptor of this loop, so that another thread can close them if this one dies.
   * `turnsInARow`: busy turns before Node's own loop has one; promises and messages wait so long, never for an event.
   * `sleepsBetween`: for an event too. For a thread where nothing waits for Node's own loop but messages, which wake this one.
   */
  constructor(onError: (error: unknown) => void, options: { readonly sharesThread?: boolean; readonly descriptors?: SharedArrayBuffer; readonly turnsInARow?: number; readonly sleepsBetween?: boolean } = {}) {
    this.#turnsInARow = options.turnsInARow ?? 1;
    this.#sleepsBetween = options.sleepsBetween === true;
    this.#onError = onError;
    this.#descriptors = options.descriptors === undefined ? undefined : new Uint8Array(options.descriptors);
    this.own(this.#epoll);
    this.own(this.#wakeFd);
    this.#longestWaitMs = options.sharesThread === true ? HELD_MS : LONGEST_WAIT_MS;
    this.#nowMs = performance.now();
    this.clock = {
      nowMs: () => Date.now(),
      monotonicMs: () => performance.now(),
      setTimer: (delayMs, fn) => this.setTimer(delayMs, fn),
      sleep: (delayMs, signal) => sleepOn(this.clock, delayMs, signal),
    };
    this.watch(this.#wakeFd, EPOLLIN, {
      onEvents: () => {
        clearEventFd(this.#wakeFd);
        this.#woken = true;
        this.#onWake();
      },
    });
    setImmediate(this.#turn);
  }

  readonly #longestWaitMs: number;
  readonly #turnsInARow: number;
  readonly #sleepsBetween: boolean;
  readonly #descriptors: Uint8Array | undefined;
  #nowMs: number;
  /** Monotonic, as of this turn's beginning: for limits that may be a little late. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Another thread may write to it (`signalEventFd`) to call `onWake` here. */
  get wakeFd(): number {
    return this.#wakeFd;
  }

  set onWake(fn: () => void) {
    this.#onWake = fn;
  }

  /** Takes a descriptor as this loop's; `closeOwn` gives it back to the system. */
  own(fd: number): void {
    if (this.#descriptors !== undefined && fd < this.#descriptors.length) this.#descriptors[fd] = 1;
  }

  closeOwn(fd: number): void {
    if (this.#descriptors !== undefined && fd < this.#descriptors.length) this.#descriptors[fd] = 0;
    close(fd);
  }

  /** Registers a descriptor. Returns the key for `change` and `unwatch`. */
  watch(fd: number, events: number, watched: Watched): number {
    const slot = this.#free.pop() ?? this.#watched.length;
    this.#watched[slot] = watched;
    const generation = ((this.#generation[slot] ?? 0) + 1) & 0x7f; // so that a key is a small integer to V8
    this.#generation[slot] = generation;
    const key = ((generation << 24) | slot) >>> 0;
    if (epollControl(this.#epoll, EPOLL_CTL_ADD, fd, events, key) < 0) {
      this.#release(slot);
      throw new Error(`epoll_ctl failed: ${errorName(errno())}`);
    }
    return key;
  }

  change(key: number, fd: number, events: number): void {
    epollControl(this.#epoll, EPOLL_CTL_MOD, fd, events, key);
  }

  /** Before the descriptor is closed. */
  unwatch(key: number, fd: number): void {
    epollControl(this.#epoll, EPOLL_CTL_DEL, fd, 0, key);
    this.#release(key & 0xffffff);
  }

  /** As `unwatch`, where the descriptor is closed right after and was never duplicated: the kernel lets go of it by itself. */
  forget(key: number): void {
    this.#release(key & 0xffffff);
  }

  #release(slot: number): void {
    this.#watched[slot] = undefined;
    this.#free.push(slot);
  }

  /** Calls `flush` once at the end of this turn. */
  mark(flushed: Flushed): void {
    this.#dirty.push(flushed);
  }

  /** Calls `flush` in the next turn: others have theirs first. */
  markNext(flushed: Flushed): void {
    this.#later.push(flushed);
  }

  setTimer(delayMs: number, fn: () => void): TimerHandle {
    return this.#timers.add(performance.now() + delayMs, fn);
  }

  /** Waits on Node's own loop (a promise from elsewhere) without sleeping long beside it. */
  async hold<T>(work: Promise<T>): Promise<T> {
    this.#held += 1;
    try {
      return await work;
    } finally {
      this.#held -= 1;
    }
  }

  /** Ends the loop after this turn. Descriptors still watched belong to their owners. */
  close(): void {
    this.#closed = true;
  }

  readonly #turn = (): void => {
    let turns = 0;
    // Unless told otherwise only the first of them waits: what a turn gave to promises and ticks runs on Node's own loop, and comes before any waiting.
    do this.#turnOnce(turns === 0 || this.#sleepsBetween);
    while (!this.#closed && this.#held === 0 && !this.#woken && ++turns < this.#turnsInARow && this.#busy);
    this.#woken = false;
    if (!this.#closed) setImmediate(this.#turn);
    else {
      this.closeOwn(this.#wakeFd);
      this.closeOwn(this.#epoll);
    }
  };

  #turnOnce(mayWait: boolean): void {
    const count = epollWait(this.#epoll, this.#events.address, EVENTS, mayWait ? this.#waitMs() : 0);
    this.#nowMs = performance.now();
    if (count < 0 && errno() !== EINTR) this.#onError(new Error(`epoll_wait failed: ${errorName(errno())}`));
    for (let i = 0; i < count; i++) this.#dispatch(i * EVENT_BYTES);
    this.#timers.run(this.#nowMs, this.#onError);
    this.#flushAll();
    if (this.#later.length > 0) {
      const later = this.#later;
      this.#later = this.#dirty;
      this.#dirty = later;
    }
    this.#busy = count > 0;
  }

  #dispatch(at: number): void {
    const key = this.#view.getUint32(at + EVENT_DATA_AT, true);
    const slot = key & 0xffffff;
    if (this.#generation[slot] !== key >>> 24) return;
    const watched = this.#watched[slot];
    if (watched === undefined) return;
    try {
      watched.onEvents(this.#view.getUint32(at, true));
    } catch (error) {
      this.#onError(error);
    }
  }

  #flushAll(): void {
    while (this.#dirty.length > 0) {
      const batch = this.#dirty;
      this.#dirty = this.#flushing;
      this.#flushing = batch;
      for (let i = 0; i < batch.length; i++) {
        try {
          batch[i]?.flush();
        } catch (error) {
          this.#onError(error);
        }
      }
      batch.length = 0;
    }
  }

  #waitMs(): number {
    if (this.#closed || this.#dirty.length > 0) return 0;
    const limitMs = this.#held > 0 ? HELD_MS : this.#longestWaitMs;
    const next = this.#timers.nextMs();
    return next === undefined ? limitMs : Math.max(0, Math.min(limitMs, Math.ceil(next - performance.now())));
  }

  /** From any thread that knows the descriptor: ends the current wait. */
  wake(): void {
    signalEventFd(this.#wakeFd);
  }
}
