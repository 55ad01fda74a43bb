// Which SVIDs are banned, ready to be asked at each handshake: two look-ups, however many bans there are.
import { X509Certificate } from 'node:crypto';
import { type BannedSvids, type SpiffeId, spiffeIds, trustDomainOf } from '@isthmus/model';
import { readSvidSerial } from './svid-serial.ts';

/** What of a leaf certificate a ban looks at. */
export type SvidFacts = { readonly spiffeId: string; readonly holder: string | undefined; readonly issuedAtMs: number };

/**
 * An SVID by its chain (DER, leaf first): the leaf, and the CAs of its own trust domain above it. A certificate whose
 * serial number another issuer made counts as issued at its `notBefore`.
 */
export function svidFacts(spiffeId: SpiffeId, chain: readonly Buffer[]): readonly SvidFacts[] {
  const authority = spiffeIds.authority(trustDomainOf(spiffeId));
  return chain.flatMap((der, i) => {
    const cert = new X509Certificate(der);
    if (i > 0 && cert.subjectAltName !== `URI:${authority}`) return [];
    const told = readSvidSerial(cert.serialNumber);
    return [{ spiffeId: i === 0 ? spiffeId : authority, holder: told?.holder, issuedAtMs: told?.issuedAtMs ?? Date.parse(cert.validFrom) }];
  });
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

  /** The ban this SVID or a CA above it falls under, or undefined. A ban is never too old: what it bans has run out before it. */
  of(facts: readonly SvidFacts[]): BannedSvids | undefined {
    for (const fact of facts) {
      const ban = this.#ofOne(fact);
      if (ban !== undefined) return ban;
    }
    return undefined;
  }

  #ofOne({ spiffeId, holder, issuedAtMs }: SvidFacts): BannedSvids | undefined {
    const byId = this.#byId.get(spiffeId);
    if (byId !== undefined && issuedAtMs < byId.issuedBeforeMs) return byId;
    const byHolder = holder === undefined ? undefined : this.#byHolder.get(holder);
    return byHolder !== undefined && issuedAtMs < byHolder.issuedBeforeMs ? byHolder : undefined;
  }
}
