// Which code a run of inputs reached for the first time, told by V8's own block coverage.
import { type Profiler, Session } from 'node:inspector';

/**
 * Watches code that this thread compiles after `start`. Such code is slower by a few times, so the fuzzer runs a share of
 * its inputs so, in a thread of its own.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #isOfInterest: (url: string) => boolean;
  /** By function: 1 for each character of its text that has run. */
  readonly #seen = new Map<string, Uint8Array>();
  #covered = 0;

  constructor(isOfInterest: (url: string) => boolean) {
    this.#isOfInterest = isOfInterest;
    this.#session.connect();
    this.#session.post('Profiler.enable');
  }

  /** Characters of source that have run so far. */
  get covered(): number {
    return this.#covered;
  }

  start(): void {
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  close(): void {
    this.#session.disconnect();
  }

  /** Whether anything ran since the last call that had never run before. `remember: false` only looks. */
  grew(remember = true): boolean {
    let scripts: readonly Profiler.ScriptCoverage[] = [];
    // Within one thread the answer comes before `post` returns.
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error === null) scripts = answer.result;
    });
    let grown = 0;
    for (const script of scripts) if (this.#isOfInterest(script.url)) grown += this.#take(script, remember);
    if (remember) this.#covered += grown;
    return grown > 0;
  }

  #take(script: Profiler.ScriptCoverage, remember: boolean): number {
    let grown = 0;
    for (const fn of script.functions) {
      const [whole, ...blocks] = fn.ranges;
      if (whole === undefined || whole.count === 0) continue;
      // A function by itself: its text lies within the text of whatever holds it.
      const key = `${script.url} ${whole.startOffset} ${whole.endOffset}`;
      let seen = this.#seen.get(key);
      if (seen === undefined) {
        seen = new Uint8Array(whole.endOffset - whole.startOffset);
        if (remember) this.#seen.set(key, seen);
      }
      // What did not run is listed as blocks with a count of 0, outer before inner; the rest ran.
      let at = 0;
      for (const block of blocks) {
        if (block.count !== 0) continue;
        grown += mark(seen, at, block.startOffset - whole.startOffset, remember);
        at = Math.max(at, block.endOffset - whole.startOffset);
      }
      grown += mark(seen, at, seen.length, remember);
    }
    return grown;
  }
}

function mark(seen: Uint8Array, from: number, to: number, remember: boolean): number {
  let grown = 0;
  for (let at = from; at < to; at++) {
    if (seen[at] === 1) continue;
    grown += 1;
    if (remember) seen[at] = 1;
  }
  return grown;
}
