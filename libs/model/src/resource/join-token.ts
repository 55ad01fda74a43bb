// A join token as it is kept: only its hash, what it is bound to, and whether it is spent.
import { compileSchema, schemas, type Static, Type } from '../schema.ts';

/** What a join token can make of its holder: an agent, a gateway, or an operator of the admin API. */
export const joinRoleSchema = Type.Union([Type.Literal('agent'), Type.Literal('gateway'), Type.Literal('operator')], { description: 'What may join' });
export type JoinRole = Static<typeof joinRoleSchema>;

export const joinTokenSchema = Type.Object({
  kind: Type.Literal('join-token'),
  /** First 12 hex digits of the hash: the name people see and delete by. */
  id: Type.String({ pattern: '^[0-9a-f]{12}$' }),
  secretSha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  /** The agent name this token may join as. */
  agent: schemas.dnsLabel,
  /** `namespace/service` names the agent may hold identities for. */
  services: Type.Array(Type.String({ maxLength: 127 }), { maxItems: 64 }),
  /** What may be joined with it. */
  role: joinRoleSchema,
  expiresAtMs: Type.Integer({ minimum: 0 }),
  usedAtMs: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type JoinToken = Static<typeof joinTokenSchema>;
export const parseJoinToken = compileSchema(joinTokenSchema);

/** What an attested agent may have: made when its token is spent, and asked at every issuance (SPIRE calls it an entry). */
export const entrySchema = Type.Object({
  kind: Type.Literal('entry'),
  agent: schemas.dnsLabel,
  role: joinRoleSchema,
  services: Type.Array(Type.String({ maxLength: 127 }), { maxItems: 64 }),
  joinedAtMs: Type.Integer({ minimum: 0 }),
  /** How it attested; an entry without it is older than the other methods and was made by a token. */
  method: Type.Optional(Type.Union([Type.Literal('token'), Type.Literal('jwt'), Type.Literal('aws-instance'), Type.Literal('x509')])),
  /** Who it proved to be, in that method's words; the name of this entry is theirs alone. */
  subject: Type.Optional(Type.String({ maxLength: 512 })),
  /** An operator removed it: it may neither renew nor attest again until readmitted. */
  removedAtMs: Type.Optional(Type.Integer({ minimum: 0 })),
});
export type Entry = Static<typeof entrySchema>;
export const parseEntry = compileSchema(entrySchema);
