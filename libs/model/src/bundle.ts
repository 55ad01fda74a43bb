// The trusted roots of one trust domain, as a value. Bundles of different trust domains are never merged.
import { compileSchema, type Static, Type } from './schema.ts';

export const bundleSchema = Type.Object({
  trustDomain: Type.String({ pattern: '^[a-z0-9._-]{1,255}$' }),
  /** Grows with every change; an older one is never taken (SPIFFE bundle §4.1.1). */
  sequence: Type.Integer({ minimum: 0 }),
  refreshHintSeconds: Type.Integer({ minimum: 1 }),
  /** DER certificates in base64. An empty list means: everything revoked. */
  x509Authorities: Type.Array(Type.String({ maxLength: 16_384 }), { maxItems: 32 }),
});
export type Bundle = Static<typeof bundleSchema>;
export const parseBundle = compileSchema(bundleSchema);

/** A member cluster as the trust root knows it; what every control plane learns of its peers. */
export const memberSchema = Type.Object({
  cluster: Type.String({ maxLength: 32 }),
  trustDomain: Type.String({ maxLength: 255 }),
  locality: Type.String({ maxLength: 200 }),
  /** `host:port` of each east-west gateway; names and addresses may be mixed. */
  gateways: Type.Array(Type.String({ maxLength: 260 }), { maxItems: 64 }),
});
export type Member = Static<typeof memberSchema>;
export const parseMember = compileSchema(memberSchema);
