// What a proxy keeps on disk: its key with its SVID, and the bundles it knew; one file more for each service's SVID.
import { X509Certificate } from 'node:crypto';
import { bundleSchema, compileSchema, type SpiffeId, type Static, Type } from '@isthmus/model';
import { exportKeyPem, importKeyPem, makeX509Svid, type X509Svid } from '@isthmus/pki';

const der = Type.String({ maxLength: 16_384 });

export const svidStateSchema = Type.Object({
  version: Type.Literal(1),
  spiffeId: Type.String(),
  keyPem: Type.String(),
  /** DER in base64, leaf first. */
  chain: Type.Array(der, { minItems: 1, maxItems: 8 }),
});
export type SvidState = Static<typeof svidStateSchema>;
export const parseSvidState = compileSchema(svidStateSchema);

export const proxyStateSchema = Type.Object({
  version: Type.Literal(1),
  cluster: Type.String(),
  federation: Type.String(),
  agent: Type.String(),
  /** The join token that was spent, by its id. */
  tokenId: Type.String(),
  svid: svidStateSchema,
  bundles: Type.Array(bundleSchema),
});
export type ProxyState = Static<typeof proxyStateSchema>;
export const parseProxyState = compileSchema(proxyStateSchema);

export const MAX_SVID_BYTES = 256 * 1024;
export const MAX_PROXY_BYTES = 64 * 1024 * 1024;

export function svidToState(svid: X509Svid): SvidState {
  return { version: 1, spiffeId: svid.spiffeId, keyPem: exportKeyPem(svid.key), chain: svid.chain.map((c) => c.toString('base64')) };
}

/** The SVID with its key, or undefined where the two do not belong together or it is another's. */
export function svidFromState(state: SvidState, spiffeId: SpiffeId): X509Svid | undefined {
  try {
    const chain = state.chain.map((c) => Buffer.from(c, 'base64'));
    const key = importKeyPem(state.keyPem);
    const isPair = chain[0] !== undefined && new X509Certificate(chain[0]).checkPrivateKey(key);
    const svid = makeX509Svid(chain, key);
    return isPair && svid.spiffeId === spiffeId ? svid : undefined;
  } catch {
    return undefined;
  }
}
