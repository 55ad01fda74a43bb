// A slot: an intermediate with its key, ready to sign. Checked by signing with it and verifying as a peer would.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { type Bundle, reservedSni, type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { generateKey, makeX509Svid, signSvid, verifySvid, type X509Svid } from '@isthmus/pki';
import { fail } from '../errors.ts';
import { BACKDATE_MS } from '../renew.ts';

/** `keyName`: where the key is kept; undefined for one of this process only. */
export type SlotKey = { readonly key: KeyObject; readonly keyName?: string };

export type Slot = SlotKey & {
  readonly trustDomain: TrustDomain;
  /** DER. */
  readonly intermediate: Buffer;
  /** The newer root under the older one's signature, while a rotation lasts; DER. */
  readonly links: readonly Buffer[];
  /** The root it hangs on; DER. */
  readonly root: Buffer;
  readonly notBeforeMs: number;
  readonly expiresAtMs: number;
};

/** `chain` is the intermediate, then links, then the root. **Throws** IDENTITY_PARENT_REFUSED. */
export function makeSlot(trustDomain: TrustDomain, key: SlotKey, chain: readonly Buffer[]): Slot {
  const [intermediate, root] = [chain[0], chain.at(-1)];
  if (intermediate === undefined || root === undefined || chain.length < 2 || chain.length > 4) throw fail('IDENTITY_PARENT_REFUSED', `the trust root answered with ${chain.length} certificates`);
  try {
    const cert = new X509Certificate(intermediate);
    return { trustDomain, ...key, intermediate, links: chain.slice(1, -1), root, notBeforeMs: Date.parse(cert.validFrom), expiresAtMs: Date.parse(cert.validTo) };
  } catch (cause) {
    throw fail('IDENTITY_PARENT_REFUSED', 'the intermediate is no certificate', { cause });
  }
}

/** Signs a leaf; the chain is leaf first, then the intermediate. The life is clipped to the intermediate's rest. */
export function signWith(
  slot: Slot,
  request: { readonly publicKey: KeyObject; readonly spiffeId: SpiffeId; readonly dnsNames?: readonly string[] | undefined; readonly ttlMs: number; readonly nowMs: number; readonly holder?: SpiffeId | undefined; readonly askedAtMs?: number | undefined },
): readonly Buffer[] {
  const leaf = signSvid({
    issuer: { cert: slot.intermediate, key: slot.key },
    publicKey: request.publicKey,
    spiffeId: request.spiffeId,
    ...(request.dnsNames === undefined ? {} : { dnsNames: [...request.dnsNames] }),
    nowMs: request.nowMs,
    ttlMs: request.ttlMs,
    backdateMs: BACKDATE_MS,
    ...(request.holder === undefined ? {} : { holder: request.holder }),
    ...(request.askedAtMs === undefined ? {} : { askedAtMs: request.askedAtMs }),
  });
  return [leaf, slot.intermediate];
}

/**
 * The control plane's own SVID: reached by its reserved names, which clients that check DNS names alone can verify too.
 * `isLinked` puts the links into its chain, for those who hold a token of the older root.
 */
export function controlPlaneSvid(slot: Slot, nowMs: number, ttlMs: number, isLinked = false): X509Svid {
  const key = generateKey();
  const { trustDomain } = slot;
  const chain = signWith(slot, {
    publicKey: createPublicKey(key),
    spiffeId: spiffeIds.controlPlane(trustDomain),
    dnsNames: [reservedSni('control-plane', trustDomain), reservedSni('store', trustDomain)],
    ttlMs,
    nowMs,
  });
  return makeX509Svid(isLinked ? [...chain, ...slot.links] : chain, key);
}

/** **Throws** IDENTITY_PARENT_REFUSED when what the slot signs would not be taken by a peer that knows its root only. */
export function checkSlot(slot: Slot, nowMs: number): void {
  const bundle: Bundle = { trustDomain: slot.trustDomain, sequence: 0, refreshHintSeconds: 300, x509Authorities: [slot.root.toString('base64')] };
  const svid = controlPlaneSvid(slot, nowMs, BACKDATE_MS);
  const verdict = verifySvid({ chain: svid.chain, bundle, nowMs });
  if (!verdict.ok) throw fail('IDENTITY_PARENT_REFUSED', `the intermediate for ${slot.trustDomain} does not verify: ${verdict.detail}`, { facts: { reason: verdict.reason } });
}
