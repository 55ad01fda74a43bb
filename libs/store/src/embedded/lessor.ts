// Leases of the embedded server: who holds which keys, and until when. Expiry is counted on the monotonic clock, and
// starts anew when the server starts, as etcd's does when a leader is elected.
import { randomId } from './file.ts';
import type { Mvcc } from './mvcc.ts';
import { refuse } from './refusal.ts';

/** etcd's floor with its default election time (lessor minLeaseTTL), and its ceiling (MaxLeaseTTL). */
const MIN_TTL_SECONDS = 2n;
const MAX_TTL_SECONDS = 9_000_000_000n;

type Held = { readonly id: bigint; readonly ttlSeconds: bigint; expiresMonotonicMs: number; readonly keys: Set<string> };

export class Lessor {
  readonly #mvcc: Mvcc;
  readonly #nowMonotonicMs: () => number;
  #leases = new Map<bigint, Held>();
  #leaseOfKey = new Map<string, bigint>();

  constructor(mvcc: Mvcc, nowMonotonicMs: () => number) {
    this.#mvcc = mvcc;
    this.#nowMonotonicMs = nowMonotonicMs;
    this.reload();
  }

  /** Reads the leases from disk again: at the start, and after a write that had to be rolled back. */
  reload(): void {
    const before = this.#leases;
    this.#leases = new Map();
    this.#leaseOfKey = new Map();
    for (const { id, ttlSeconds, keys } of this.#mvcc.leases()) {
      const expiresMonotonicMs = before.get(id)?.expiresMonotonicMs ?? this.#fromNow(ttlSeconds);
      this.#leases.set(id, { id, ttlSeconds, expiresMonotonicMs, keys: new Set(keys.map(text)) });
      for (const key of keys) this.#leaseOfKey.set(text(key), id);
    }
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  ids(): bigint[] {
    return [...this.#leases.keys()];
  }

  grant(id: bigint, ttlSeconds: bigint): { readonly id: bigint; readonly ttlSeconds: bigint } {
    if (ttlSeconds > MAX_TTL_SECONDS) throw refuse.leaseTtlTooLarge();
    if (this.#leases.has(id)) throw refuse.leaseExists();
    const lease = { id: id === 0n ? randomId() : id, ttlSeconds: ttlSeconds < MIN_TTL_SECONDS ? MIN_TTL_SECONDS : ttlSeconds };
    this.#mvcc.putLease(lease.id, lease.ttlSeconds);
    this.#leases.set(lease.id, { ...lease, expiresMonotonicMs: this.#fromNow(lease.ttlSeconds), keys: new Set() });
    return lease;
  }

  /** Ends a lease and deletes its keys, all at one revision. */
  revoke(id: bigint): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) throw refuse.leaseNotFound();
    for (const key of [...lease.keys].map(bytes).sort(Buffer.compare)) {
      this.#mvcc.delete({ key, end: Buffer.alloc(0) });
      this.attach(key, 0n);
    }
    this.#mvcc.deleteLease(id);
    this.#leases.delete(id);
  }

  /** Puts a key under a lease (0: under none), taking it from the one it had. */
  attach(key: Buffer, id: bigint): void {
    const name = text(key);
    const before = this.#leaseOfKey.get(name);
    if (before !== undefined) {
      this.#leases.get(before)?.keys.delete(name);
      this.#leaseOfKey.delete(name);
    }
    if (id === 0n) return;
    this.#leases.get(id)?.keys.add(name);
    this.#leaseOfKey.set(name, id);
  }

  /** The TTL in seconds, or undefined when there is no such lease. */
  keepAlive(id: bigint): bigint | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined || lease.expiresMonotonicMs <= this.#nowMonotonicMs()) return undefined;
    lease.expiresMonotonicMs = this.#fromNow(lease.ttlSeconds);
    return lease.ttlSeconds;
  }

  timeToLive(id: bigint): { readonly remainingSeconds: bigint; readonly ttlSeconds: bigint; readonly keys: Buffer[] } | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    const remainingMs = Math.max(0, lease.expiresMonotonicMs - this.#nowMonotonicMs());
    return { remainingSeconds: BigInt(Math.floor(remainingMs / 1000)), ttlSeconds: lease.ttlSeconds, keys: [...lease.keys].map(bytes).sort(Buffer.compare) };
  }

  expired(): bigint[] {
    const now = this.#nowMonotonicMs();
    return [...this.#leases.values()].filter((lease) => lease.expiresMonotonicMs <= now).map((lease) => lease.id);
  }

  #fromNow(ttlSeconds: bigint): number {
    return this.#nowMonotonicMs() + Number(ttlSeconds) * 1000;
  }
}

/* Keys are bytes; as map keys they are kept in latin1, which is one to one. */
function text(key: Buffer): string {
  return key.toString('latin1');
}

function bytes(name: string): Buffer {
  return Buffer.from(name, 'latin1');
}
