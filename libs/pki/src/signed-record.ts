// A record that carries its own proof: payload, signature, and the chain of the SVID that signed it.
import { sign, verify, X509Certificate } from 'node:crypto';
import { type Bundle, messageOf, type SpiffeId } from '@isthmus/model';
import type { VerifyRefusal } from './path.ts';
import { verifySvid } from './verify.ts';
import { sha256Hex, type X509Svid } from './x509-svid.ts';

/** Keeps a signature for one purpose from being used for another. */
const CONTEXT = Buffer.from('isthmus signed record v1\0');

/** Signs a payload; the result is JSON of `{payload, signature, chain}`, each base64. */
export function signRecord(payload: Uint8Array, svid: X509Svid): Uint8Array {
  const signature = sign(hashFor(svid.key.asymmetricKeyType), Buffer.concat([CONTEXT, payload]), svid.key);
  const envelope = {
    payload: Buffer.from(payload).toString('base64'),
    signature: signature.toString('base64'),
    chain: svid.chain.map((der) => der.toString('base64')),
  };
  return Buffer.from(JSON.stringify(envelope));
}

export type RecordVerdict =
  | { readonly ok: true; readonly payload: Uint8Array }
  | { readonly ok: false; readonly reason: VerifyRefusal | 'wrong-signer' | 'bad-signature' | 'too-large'; readonly detail: string };

/** Verifies size, form, chain (against that bundle alone), exact signer and signature. Never throws. */
export function verifyRecord(
  bytes: Uint8Array,
  expected: { readonly bundle: Bundle | undefined; readonly expectedId: SpiffeId; readonly nowMs: number; readonly maxBytes?: number },
): RecordVerdict {
  const { bundle, expectedId, nowMs, maxBytes = 1_500_000 } = expected;
  if (bytes.byteLength > maxBytes) return { ok: false, reason: 'too-large', detail: `${bytes.byteLength} bytes, ${maxBytes} are allowed` };
  try {
    const { payload, signature, chain } = readEnvelope(bytes);
    const verdict = verifyCached(chain, bundle, nowMs);
    if (!verdict.ok) return verdict;
    if (verdict.spiffeId !== expectedId) return { ok: false, reason: 'wrong-signer', detail: `signed by ${verdict.spiffeId}, not by ${expectedId}` };
    const key = verdict.leaf.publicKey;
    const good = verify(hashFor(key.asymmetricKeyType), Buffer.concat([CONTEXT, payload]), key, signature);
    return good ? { ok: true, payload } : { ok: false, reason: 'bad-signature', detail: 'the signature does not hold' };
  } catch (error) {
    return { ok: false, reason: 'malformed', detail: messageOf(error) };
  }
}

function hashFor(keyType: string | undefined): 'sha256' | null {
  return keyType === 'ed25519' ? null : 'sha256';
}

function readEnvelope(bytes: Uint8Array): { readonly payload: Buffer; readonly signature: Buffer; readonly chain: readonly Buffer[] } {
  const json: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (typeof json !== 'object' || json === null || !('payload' in json) || !('signature' in json) || !('chain' in json)) throw new TypeError('is no signed record');
  const { payload, signature, chain } = json;
  if (typeof payload !== 'string' || typeof signature !== 'string' || !Array.isArray(chain)) throw new TypeError('is no signed record');
  if (!chain.every((c) => typeof c === 'string')) throw new TypeError('its chain is no list of certificates');
  return { payload: Buffer.from(payload, 'base64'), signature: Buffer.from(signature, 'base64'), chain: chain.map((c) => Buffer.from(c, 'base64')) };
}

type CachedChain = { readonly spiffeId: SpiffeId; readonly leaf: X509Certificate; readonly notBeforeMs: number; readonly expiresAtMs: number };
/** One control plane signs all its records with one SVID: its chain is walked once. Held by the bundle it was true for. */
const chainCache = new WeakMap<Bundle, Map<string, CachedChain>>();
const MAX_CACHED_CHAINS = 64;

function verifyCached(chain: readonly Buffer[], bundle: Bundle | undefined, nowMs: number): (CachedChain & { readonly ok: true }) | Extract<ReturnType<typeof verifySvid>, { ok: false }> {
  const fingerprint = sha256Hex(Buffer.concat([...chain]));
  const cache = bundle === undefined ? undefined : (chainCache.get(bundle) ?? new Map<string, CachedChain>());
  if (bundle !== undefined && cache !== undefined) chainCache.set(bundle, cache);
  const known = cache?.get(fingerprint);
  if (known !== undefined && nowMs >= known.notBeforeMs && nowMs <= known.expiresAtMs) return { ...known, ok: true };
  const verdict = verifySvid({ chain, bundle, nowMs });
  if (!verdict.ok) return verdict;
  const leaf = new X509Certificate(chain[0] ?? Buffer.alloc(0));
  const entry = { spiffeId: verdict.spiffeId, leaf, notBeforeMs: Date.parse(leaf.validFrom), expiresAtMs: verdict.expiresAtMs };
  if (cache !== undefined) {
    if (cache.size >= MAX_CACHED_CHAINS) cache.clear();
    cache.set(fingerprint, entry);
  }
  return { ...entry, ok: true };
}
