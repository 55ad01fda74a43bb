// The open connections by who is at their other end: closed when that one would be refused now.
import type { BundleSource } from '@isthmus/pki';
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { ByteStream } from '../transport/transport.ts';
import { type Peer, refusalNow } from './judge.ts';

/** Connections whose root was taken out in a rotation end by themselves when the SVIDs are new; what is left after so long is closed. */
const GRACE_MS = 30_000;

type Held = { readonly peer: Peer; readonly streams: Set<ByteStream> };

/**
 * A banned peer, and one whose trust domain’s bundle was emptied (a fenced cluster), loses its open connections at once
 * (reliability row 48); one that is refused for another reason after a while. Each SVID is judged once a change,
 * however many connections it has. **Bounds** those of the connections.
 */
export class OpenPeers {
  readonly #held = new Map<string, Held>();
  readonly #bundles: BundleSource;
  readonly #clock: Clock;
  readonly #close: (stream: ByteStream) => void;
  readonly #onClosed: (peer: Peer, reason: string, connections: number) => void;
  readonly #unsubscribe: () => void;
  #later: TimerHandle | undefined;

  constructor(options: {
    readonly bundles: BundleSource;
    readonly clock: Clock;
    readonly close: (stream: ByteStream) => void;
    readonly onClosed: (peer: Peer, reason: string, connections: number) => void;
  }) {
    this.#bundles = options.bundles;
    this.#clock = options.clock;
    this.#close = options.close;
    this.#onClosed = options.onClosed;
    this.#unsubscribe = options.bundles.onChange(() => this.#look(false));
  }

  add(stream: ByteStream, peer: Peer): void {
    const held = this.#held.get(peer.leafSha256) ?? { peer, streams: new Set<ByteStream>() };
    this.#held.set(peer.leafSha256, held);
    held.streams.add(stream);
    stream.once('close', () => {
      held.streams.delete(stream);
      if (held.streams.size === 0 && this.#held.get(peer.leafSha256) === held) this.#held.delete(peer.leafSha256);
    });
  }

  close(): void {
    this.#unsubscribe();
    this.#later?.cancel();
    this.#held.clear();
  }

  #look(isLate: boolean): void {
    let isWaiting = false;
    for (const { peer, streams } of [...this.#held.values()]) {
      const reason = refusalNow(peer, this.#bundles, this.#clock.nowMs());
      if (reason === undefined) continue;
      const isFenced = this.#bundles.get(peer.trustDomain)?.x509Authorities.length === 0;
      // The root was compromised: whoever stands on it may be anybody (reliability row 36).
      const isRevoked = this.#bundles.revoked().length > 0;
      if (!isLate && reason !== 'banned' && !isFenced && !isRevoked) {
        isWaiting = true;
        continue;
      }
      this.#onClosed(peer, isFenced ? 'fenced' : isRevoked ? 'revoked' : reason, streams.size);
      for (const stream of [...streams]) this.#close(stream);
    }
    if (!isWaiting) return;
    this.#later?.cancel();
    this.#later = this.#clock.setTimer(GRACE_MS, () => this.#look(true));
  }
}
