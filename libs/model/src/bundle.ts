// The trusted roots of one trust domain, as a value. Bundles of different trust domains are never merged.
import { compileSchema, type Static, Type } from './schema.ts';

/** A key that signs JWT-SVIDs of one trust domain. */
export const jwtAuthoritySchema = Type.Object({
  /** The `kid` that tokens carry in their header; unique in its bundle. */
  keyId: Type.String({ minLength: 1, maxLength: 256 }),
  /** SubjectPublicKeyInfo, DER in base64. */
  publicKey: Type.String({ minLength: 1, maxLength: 2_048 }),
});
export type JwtAuthority = Static<typeof jwtAuthoritySchema>;

export const bundleSchema = Type.Object({
  trustDomain: Type.String({ pattern: '^[a-z0-9._-]{1,255}$' }),
  /** Grows with every change; an older one is never taken (SPIFFE bundle §4.1.1). */
  sequence: Type.Integer({ minimum: 0 }),
  refreshHintSeconds: Type.Integer({ minimum: 1 }),
  /** DER certificates in base64. An empty list means: everything revoked. */
  x509Authorities: Type.Array(Type.String({ maxLength: 16_384 }), { maxItems: 32 }),
  /** Keys of JWT-SVIDs; absent where the trust domain signs none, and in documents of before there were any. */
  jwtAuthorities: Type.Optional(Type.Array(jwtAuthoritySchema, { maxItems: 32 })),
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
