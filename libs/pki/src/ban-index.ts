// Which SVIDs are banned, ready to be asked at each handshake: two look-ups, however many bans there are.
import { X509Certificate } from 'node:crypto';
import type { BannedSvids } from '@isthmus/model';
import { readSvidSerial } from './svid-serial.ts';

/** What of a leaf certificate a ban looks at. */
export type SvidFacts = { readonly spiffeId: string; readonly holder: string | undefined; readonly issuedAtMs: number };

/** An SVID by its certificate; one whose serial number another issuer made counts as issued at its `notBefore`. */
export function svidFacts(spiffeId: string, leaf: Buffer): SvidFacts {
  const cert = new X509Certificate(leaf);
  const told = readSvidSerial(cert.serialNumber);
  return { spiffeId, holder: told?.holder, issuedAtMs: told?.issuedAtMs ?? Date.parse(cert.validFrom) };
}

/** The bans of one trust domain. */
export class BanIndex {
  readonly bans: readonly BannedSvids[];
  readonly #byId = new Map<string, BannedSvids>();
  readonly #byHolder = new Map<string, BannedSvids>();

  constructor(bans: readonly BannedSvids[]) {
    this.bans = bans;
    for (const ban of bans) {
      this.#byId.set(ban.spiffeId, ban);
      if (ban.holder !== undefined) this.#byHolder.set(ban.holder, ban);
    }
  }

  /** The ban this SVID falls under, or undefined. A ban is never too old: what it bans has run out before it. */
  of({ spiffeId, holder, issuedAtMs }: SvidFacts): BannedSvids | undefined {
    const byId = this.#byId.get(spiffeId);
    if (byId !== undefined && issuedAtMs < byId.issuedBeforeMs) return byId;
    const byHolder = holder === undefined ? undefined : this.#byHolder.get(holder);
    return byHolder !== undefined && issuedAtMs < byHolder.issuedBeforeMs ? byHolder : undefined;
  }
}
