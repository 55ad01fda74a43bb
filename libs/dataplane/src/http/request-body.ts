// A request's body on its way to one attempt after another: passed on as it comes, and remembered while it is small.
import { kept } from '../transport/lent.ts';
import type { Abort, BodySink, ClientExchange, HeaderList, RequestHead, ResponseHead, ServerExchange } from './exchange.ts';

const CONTINUE: ResponseHead = { status: 100, headers: [], bodyBytes: 0 };

/** Hears how the body ended. */
export interface BodyOwner {
  bodyEnded(): void;
  /** It will not come whole. */
  bodyAborted(why: Abort): void;
}

/**
 * Hands one body to attempts. Chunks pass on at once (no waiting for the end, so a slow upload or a conversation is not
 * held up), and are remembered until they exceed `limitBytes`; from then on the body can no longer be sent twice.
 * **Bounds** memory: `limitBytes`, and what the codec reads at once; the caller is held back when an attempt is slow.
 */
export class RequestBody implements BodySink {
  readonly #exchange: ServerExchange;
  readonly #head: RequestHead;
  readonly #owner: BodyOwner;
  readonly #limitBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isReplayable = true;
  #isReceiving = false;
  #isDiscarding = false;
  #hasEnded = false;
  #trailers: HeaderList | undefined;
  #to: ClientExchange | undefined;

  constructor(exchange: ServerExchange, head: RequestHead, owner: BodyOwner, limitBytes: number) {
    this.#exchange = exchange;
    this.#head = head;
    this.#owner = owner;
    this.#limitBytes = limitBytes;
    if (head.bodyBytes !== undefined && head.bodyBytes > limitBytes) this.#isReplayable = false;
  }

  /** True while everything read so far is still at hand. */
  get isReplayable(): boolean {
    return this.#isReplayable || this.#bytes === 0;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Sends the body to this attempt from its start. */
  attach(to: ClientExchange): void {
    this.#to = to;
    for (const chunk of this.#chunks) to.write(chunk);
    if (this.#hasEnded) return to.end(this.#trailers);
    if (this.#isReceiving) return this.#exchange.resumeBody();
    this.#isReceiving = true;
    if (this.#head.expectsContinue) this.#exchange.inform(CONTINUE);
    this.#exchange.receive(this);
  }

  /** The attempt is over; the rest is held back until the next one. */
  detach(): void {
    this.#to = undefined;
    if (this.#isReceiving && !this.#hasEnded) this.#exchange.pauseBody();
  }

  /** The attempt takes more again. */
  drained(): void {
    if (!this.#hasEnded) this.#exchange.resumeBody();
  }

  /** Reads the rest to nowhere, so that the caller's connection can be used again after an early answer. */
  discard(): void {
    this.#isDiscarding = true;
    this.#isReplayable = false;
    this.#chunks = [];
    this.#to = undefined;
    if (this.#hasEnded) return;
    if (this.#isReceiving) this.#exchange.resumeBody();
    // A caller that waits to be told to go on was just told the answer: nothing comes.
    else if (!this.#head.expectsContinue) this.#exchange.receive(this);
  }

  data(chunk: Buffer): void {
    if (this.#isDiscarding) return;
    this.#bytes += chunk.length;
    if (this.#isReplayable) {
      if (this.#bytes > this.#limitBytes) {
        this.#isReplayable = false;
        this.#chunks = [];
      } else this.#chunks.push(kept(chunk));
    }
    if (this.#to !== undefined && !this.#to.write(chunk)) this.#exchange.pauseBody();
  }

  end(trailers: HeaderList | undefined): void {
    this.#hasEnded = true;
    this.#trailers = trailers;
    this.#to?.end(trailers);
    if (!this.#isDiscarding) this.#owner.bodyEnded();
  }

  abort(why: Abort): void {
    this.#hasEnded = true;
    if (!this.#isDiscarding) this.#owner.bodyAborted(why);
  }
}
