// What a cluster's authority keeps on disk: its intermediate with its key, and the federation as last heard.
import { bundleSchema, compileSchema, memberSchema, type Static, Type } from '@isthmus/model';

const der = Type.String({ maxLength: 16_384 });

export const slotStateSchema = Type.Object({
  version: Type.Literal(1),
  cluster: Type.String(),
  federation: Type.String(),
  /** The root certificate the intermediate hangs on. */
  root: der,
  /** What stands between the two while a root is rotated. */
  links: Type.Optional(Type.Array(der, { maxItems: 2 })),
  /** The bootstrap token that was spent, by its id. */
  tokenId: Type.String(),
  /** Name of the intermediate’s key in the key store. */
  keyName: Type.Optional(Type.String({ pattern: '^intermediate-[ab]\\.key$' })),
  /** The key itself, as it was kept before there were names. */
  keyPem: Type.Optional(Type.String()),
  intermediate: der,
});
export type SlotState = Static<typeof slotStateSchema>;
export const parseSlotState = compileSchema(slotStateSchema);

/** What becomes of a root, as the trust root says; a state of a later version is kept as it came. */
export const rootMarkSchema = Type.Object({ sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }), state: Type.String({ maxLength: 32 }) });
export type RootMark = Static<typeof rootMarkSchema>;

/** Intermediates of a trust domain that the trust root revoked: those issued before this. */
export const revokedSchema = Type.Object({ trustDomain: Type.String({ maxLength: 255 }), issuedBeforeMs: Type.Integer({ minimum: 0 }), expiresAtMs: Type.Integer({ minimum: 0 }) });
export type RevokedAuthorities = Static<typeof revokedSchema>;

export const viewStateSchema = Type.Object({
  version: Type.Literal(1),
  members: Type.Array(memberSchema),
  bundles: Type.Array(bundleSchema),
  revokedAuthorities: Type.Optional(Type.Array(revokedSchema, { maxItems: 1_024 })),
  roots: Type.Optional(Type.Array(rootMarkSchema, { maxItems: 64 })),
});
export type ViewState = Static<typeof viewStateSchema>;
export const parseViewState = compileSchema(viewStateSchema);
