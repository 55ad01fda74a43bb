// What the root's key signs: intermediates, the trust root's own SVID and checkpoints; and whether that key can be reached.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { messageOf, reservedSni, spiffeIds, type Member, type TrustDomain } from '@isthmus/model';
import { draftIntermediate, draftSvid, generateKey, makeX509Svid, sha256Hex, signDraft, type SigningCa, type X509Svid } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { Gauge, Log, Metrics } from '@isthmus/telemetry';
import type { StoredKey } from '../key-store.ts';
import { BACKDATE_MS } from '../renew.ts';
import type { JournalEntry } from './state.ts';

export const DAY_MS = 86_400_000;
const OWN_SVID_TTL_MS = 3_600_000;

export type RootSignerOptions = {
  readonly federation: TrustDomain;
  readonly intermediateTtlMs?: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics | undefined;
};

/** The root that signs now. One signature at a time is asked for, or several: the key's store puts them in order. */
export class RootSigner {
  #cert: Buffer;
  #key: StoredKey;
  #isAvailable = true;
  readonly #options: RootSignerOptions;
  readonly #available: Gauge | undefined;

  constructor(root: { readonly cert: Buffer; readonly key: StoredKey }, options: RootSignerOptions) {
    this.#cert = root.cert;
    this.#key = root.key;
    this.#options = options;
    this.#available = options.metrics?.gauge('isthmus_identity_root_key_available', 'Whether the root’s key signed when it was last asked: 1, or 0 while its token or program is away', ['place']);
    this.#available?.set(1, { place: root.key.place });
  }

  /** Goes over to another root. */
  use(cert: Buffer, key: StoredKey): void {
    if (key.place !== this.#key.place) this.#available?.remove({ place: this.#key.place });
    this.#cert = cert;
    this.#key = key;
  }

  /** Whether the key answered when it was last asked to sign. */
  get isAvailable(): boolean {
    return this.#isAvailable;
  }

  get key(): StoredKey {
    return this.#key;
  }

  /** The root as a CA whose signatures are watched. */
  ca(): SigningCa {
    const key = this.#key;
    return { cert: this.#cert, signer: { publicKey: key.publicKey, sign: (bytes) => this.#watched(key, bytes) } };
  }

  /** A signature with what it is verified by, for the transparency log. */
  async checkpoint(bytes: Buffer): Promise<{ readonly signature: Buffer; readonly chain: readonly Buffer[] }> {
    const { cert, signer } = this.ca();
    return { signature: await signer.sign(bytes), chain: [cert] };
  }

  /** A member's next intermediate, and its entry in the journal. **Throws** IDENTITY_KEY_*, PKI_ISSUER_EXPIRED, PKI_SIGNER_WRONG. */
  async intermediate(member: Member, publicKey: KeyObject, why: JournalEntry['why'], links: readonly Buffer[]): Promise<{ readonly chain: Buffer[]; readonly entry: JournalEntry }> {
    const { cert, signer } = this.ca();
    const { clock, intermediateTtlMs: ttlMs = DAY_MS } = this.#options;
    const nowMs = clock.nowMs();
    const request = { issuer: { cert, key: signer.publicKey }, publicKey, trustDomain: member.trustDomain as TrustDomain, nowMs, ttlMs };
    const intermediate = await signDraft(draftIntermediate(request), signer);
    const parsed = new X509Certificate(intermediate);
    const entry: JournalEntry = {
      serial: parsed.serialNumber,
      cluster: member.cluster,
      why,
      publicKeySha256: sha256Hex(publicKey.export({ type: 'spki', format: 'der' })),
      issuedAtMs: nowMs,
      expiresAtMs: Date.parse(parsed.validTo),
    };
    return { chain: [intermediate, ...links, cert], entry };
  }

  /** The trust root's own SVID, with a key of this process. **Throws** as `intermediate`. */
  async ownSvid(links: readonly Buffer[]): Promise<X509Svid> {
    const { cert, signer } = this.ca();
    const { federation, clock } = this.#options;
    const key = generateKey();
    const request = {
      issuer: { cert, key: signer.publicKey },
      publicKey: createPublicKey(key),
      spiffeId: spiffeIds.trustRoot(federation),
      dnsNames: [reservedSni('trust-root', federation)],
      nowMs: clock.nowMs(),
      ttlMs: OWN_SVID_TTL_MS,
      backdateMs: BACKDATE_MS,
    };
    return makeX509Svid([await signDraft(draftSvid(request), signer), ...links], key);
  }

  async #watched(key: StoredKey, bytes: Buffer): Promise<Buffer> {
    try {
      const signature = await key.sign(bytes);
      if (!this.#isAvailable) this.#options.log.info('the root’s key can be reached again', { place: key.place });
      this.#note(key, true);
      return signature;
    } catch (error) {
      if (this.#isAvailable) {
        this.#options.log.error('the root’s key cannot be reached: no intermediate is renewed; clusters go on with those they have', { place: key.place, error: messageOf(error) });
      }
      this.#note(key, false);
      throw error;
    }
  }

  #note(key: StoredKey, isAvailable: boolean): void {
    this.#isAvailable = isAvailable;
    this.#available?.set(isAvailable ? 1 : 0, { place: key.place });
  }
}
