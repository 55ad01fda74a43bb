// What a resumed handshake may stand on: sessions made with one SVID of ours under one state of trust, an hour at most.
import { createHash } from 'node:crypto';
import type { BundleSource, SvidSource, X509Svid } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';

/** Nobody resumes what was proven longer ago. **Source** RFC 8446 §4.6.1 would allow seven days. */
export const GENERATION_MS = 3_600_000;
/** Callers whose chains a generation remembers; the next one begins a new generation. */
export const MAX_CALLERS = 4_096;
/** Servers whose sessions a generation keeps; the one used least lately goes first. */
export const MAX_SESSIONS = 1_024;

/** A session with one server, and the chain it proved itself by in the full handshake: a session shows the leaf alone. */
export type KeptSession<S> = { readonly session: S; readonly chain: readonly Buffer[] };

/** How an engine makes and lets go of what hangs on a generation: `C` its TLS context, `S` its sessions. */
export type GenerationParts<C, S> = {
  readonly side: 'client' | 'server';
  readonly make: (svid: X509Svid) => C;
  readonly freeContext?: (context: C) => void;
  readonly freeSession?: (session: S) => void;
};

/**
 * One TLS context and what may be resumed in it. Its ticket keys are the context's own, made at random and kept nowhere
 * else: who brings a ticket of another generation shakes hands in full. Whatever is resumed is judged again by the chain
 * of its full handshake, as if that had just been shown. **Owns** its context and sessions; `end` frees them.
 */
export class Generation<C, S> {
  readonly svid: X509Svid;
  readonly context: C;
  readonly startedMs: number;
  readonly #parts: GenerationParts<C, S>;
  readonly #sessions = new Map<string, KeptSession<S>>();
  readonly #callers = new Map<string, readonly Buffer[]>();
  #ended = false;

  constructor(svid: X509Svid, startedMs: number, parts: GenerationParts<C, S>) {
    this.svid = svid;
    this.startedMs = startedMs;
    this.#parts = parts;
    this.context = parts.make(svid);
  }

  get isFull(): boolean {
    return this.#callers.size >= MAX_CALLERS;
  }

  /** The session to offer to a server. */
  session(key: string): KeptSession<S> | undefined {
    return this.#sessions.get(key);
  }

  /** Takes over a session of a server that was judged good. A generation that has ended frees it at once. */
  keep(key: string, kept: KeptSession<S>): void {
    if (this.#ended) return this.#parts.freeSession?.(kept.session);
    this.drop(key);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= MAX_SESSIONS && oldest !== undefined) this.drop(oldest);
    this.#sessions.set(key, kept);
  }

  /** A handshake that offered it came to nothing: the next one is a full one. */
  drop(key: string): void {
    const kept = this.#sessions.get(key);
    if (kept === undefined) return;
    this.#sessions.delete(key);
    this.#parts.freeSession?.(kept.session);
  }

  /** A caller that was judged good after a full handshake. */
  remember(chain: readonly Buffer[]): void {
    if (!this.#ended && !this.isFull) this.#callers.set(leafKey(chain), chain);
  }

  /** The chain behind a leaf, which is all that a resumed caller shows; that leaf alone where nobody good showed it in full. */
  chainBehind(presented: readonly Buffer[]): readonly Buffer[] {
    return this.#callers.get(leafKey(presented)) ?? presented;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const key of [...this.#sessions.keys()]) this.drop(key);
    // Callers stay: handshakes that began in this generation may end after it.
    this.#parts.freeContext?.(this.context);
  }
}

/**
 * The generation in force: another one as soon as our SVID, any bundle, any ban or the revoked roots change, after an
 * hour, and when its callers are too many. Connections made before go on.
 */
export class Generations<C, S> {
  readonly #svids: SvidSource;
  readonly #clock: Clock;
  readonly #parts: GenerationParts<C, S>;
  readonly #unsubscribe: () => void;
  #generation: Generation<C, S> | undefined;

  constructor(svids: SvidSource, bundles: BundleSource, clock: Clock, parts: GenerationParts<C, S>) {
    this.#svids = svids;
    this.#clock = clock;
    this.#parts = parts;
    // Bundles live as long as the process; what nobody uses any more is not kept alive by them.
    const weak = new WeakRef(this);
    const unsubscribe = bundles.onChange(() => {
      const self = weak.deref();
      if (self === undefined) unsubscribe();
      else self.#end();
    });
    this.#unsubscribe = unsubscribe;
  }

  /** **Throws** DATAPLANE_NO_IDENTITY. */
  current(): Generation<C, S> {
    const svid = this.#svids.current();
    if (svid === undefined) throw fail('DATAPLANE_NO_IDENTITY', this.#parts.side === 'client' ? 'no SVID to call with yet' : 'no SVID to answer with yet');
    const nowMs = this.#clock.monotonicMs();
    const held = this.#generation;
    if (held?.svid === svid && nowMs - held.startedMs < GENERATION_MS && !held.isFull) return held;
    this.#end();
    return (this.#generation = new Generation(svid, nowMs, this.#parts));
  }

  #end(): void {
    this.#generation?.end();
    this.#generation = undefined;
  }

  close(): void {
    this.#unsubscribe();
    this.#end();
  }
}

/** Whom a session is with. Nobody else is ever offered it. */
export function sessionKey(to: { readonly host: string; readonly port: number; readonly sni: string; readonly expectedId: string; readonly alpn?: readonly string[] }): string {
  return [to.host, to.port, to.sni, to.expectedId, ...(to.alpn ?? [])].join(' ');
}

function leafKey([leaf]: readonly Buffer[]): string {
  return leaf === undefined ? '' : createHash('sha256').update(leaf).digest('latin1');
}
