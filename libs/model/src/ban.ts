// A ban: SVIDs that are refused before they run out, told by one cluster of its own trust domain to everybody.
import { MAX_BANS } from './max-bans.ts';
import { compileSchema, schemas, type Static, Type } from './schema.ts';

const entryFields = {
  /** The ID that is banned; of an agent, the agent’s own. */
  spiffeId: Type.String({ maxLength: 2_048 }),
  /** Tag of the holder (`holderTag` in pki): also every other SVID that was issued to this agent is banned. */
  holder: Type.Optional(Type.String({ pattern: '^[0-9a-f]{10}$' })),
  /** SVIDs issued before this are banned; later ones are good, so that who was let in again is. */
  issuedBeforeMs: Type.Integer({ minimum: 0 }),
  /** When the last banned SVID has run out by itself. */
  expiresAtMs: Type.Integer({ minimum: 0 }),
} as const;

/** As it is kept in the store, and signed for peers under `shared/all/bans/<id>`. */
export const banSchema = Type.Object({
  kind: Type.Literal('ban'),
  /** First 16 hex digits of the SHA-256 of `spiffeId`: one ban an ID. */
  id: Type.String({ pattern: '^[0-9a-f]{16}$' }),
  cluster: schemas.dnsLabel,
  trustDomain: Type.String({ maxLength: 255 }),
  ...entryFields,
  bannedAtMs: Type.Integer({ minimum: 0 }),
  reason: Type.String({ maxLength: 200 }),
  /** Taken back: stays known until it would have run out, since the absence of a record says nothing. */
  lifted: Type.Boolean(),
  sequence: Type.Integer({ minimum: 0 }),
});
export type Ban = Static<typeof banSchema>;
export const parseBan = compileSchema(banSchema);

/** The bans in force in one trust domain, as a proxy is told of them. A proxy of a version without it takes banned SVIDs until they run out. */
export const bansViewSchema = Type.Object({
  kind: Type.Literal('bans'),
  trustDomain: Type.String({ maxLength: 255 }),
  bans: Type.Array(Type.Object(entryFields), { maxItems: MAX_BANS }),
});
export type BansView = Static<typeof bansViewSchema>;
export type BannedSvids = BansView['bans'][number];
