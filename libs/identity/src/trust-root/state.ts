// What the trust root keeps: its members, the hashes of its tokens, its bundles and the journal of what it signed.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { bundleSchema, compileSchema, formatProblems, memberSchema, parseBundle, type Static, Type } from '@isthmus/model';
import { weaknessOf } from '@isthmus/pki';
import type { trust } from '@isthmus/rpc';
import { fail } from '../errors.ts';
import { keyPlaceSchema, rotationSchema } from './root-rotation.ts';
import { authoritiesOf } from './rotation-state.ts';

const clusterTokenSchema = Type.Object({
  id: Type.String(),
  secretSha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
  cluster: Type.String(),
  /** Lets a cluster that lost its keys join again under its name. */
  replace: Type.Boolean(),
  expiresAtMs: Type.Integer(),
  usedAtMs: Type.Optional(Type.Integer()),
});
export type ClusterToken = Static<typeof clusterTokenSchema>;

const journalEntrySchema = Type.Object({
  serial: Type.String(),
  cluster: Type.String(),
  why: Type.Union([Type.Literal('join'), Type.Literal('renew')]),
  publicKeySha256: Type.String(),
  issuedAtMs: Type.Integer(),
  expiresAtMs: Type.Integer(),
});
export type JournalEntry = Static<typeof journalEntrySchema>;

const fenceSchema = Type.Object({
  cluster: Type.String(),
  trustDomain: Type.String(),
  reason: Type.String(),
  fencedAtMs: Type.Integer(),
  /** From then on it is let in again, with intermediates issued since. */
  liftedAtMs: Type.Optional(Type.Integer()),
  /** When the last intermediate from before has run out. */
  revokedUntilMs: Type.Optional(Type.Integer()),
});
export type Fence = Static<typeof fenceSchema>;

export const trustRootStateSchema = Type.Object({
  version: Type.Literal(1),
  federation: Type.String(),
  /** The root certificate, DER in base64. */
  root: Type.String(),
  /** Name of its key. Default `root.key`. */
  keyFile: Type.Optional(Type.String({ pattern: '^root[a-z0-9-]*\\.key$' })),
  keyIn: Type.Optional(keyPlaceSchema),
  /** The rotation under way, or the last one. */
  rotation: Type.Optional(rotationSchema),
  /** Roots that are gone, the newest last. */
  formerRoots: Type.Optional(Type.Array(Type.Object({ sha256: Type.String(), retiredAtMs: Type.Integer(), compromised: Type.Boolean() }), { maxItems: 32 })),
  members: Type.Array(memberSchema),
  /** Of the federation and of each member. */
  bundles: Type.Array(bundleSchema),
  /** Clusters that were cut off as a whole, the last fence of each. */
  fences: Type.Optional(Type.Array(fenceSchema, { maxItems: 1_024 })),
  /** Last sequences of bundles that were taken out, so that one that comes back goes on from there. */
  formerSequences: Type.Record(Type.String(), Type.Integer()),
  tokens: Type.Array(clusterTokenSchema),
  /** The intermediates that have not run out: what is in force. What was is in the transparency log. */
  journal: Type.Array(journalEntrySchema),
  /** Writes asked for with an idempotency key, for a day: hashes, and what may be told again. */
  writes: Type.Optional(
    Type.Array(Type.Object({ key: Type.String(), fingerprint: Type.String(), expiresAtMs: Type.Integer(), outcome: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])) }), { maxItems: 1_024 }),
  ),
  /** Set by a restore, until the first change after it. */
  restored: Type.Optional(Type.Object({ atMs: Type.Integer(), backupMadeAtMs: Type.Integer(), sequenceLeap: Type.Integer() })),
  /** Where the transparency log stood when this state was written; absent before there was a log. */
  log: Type.Optional(Type.Object({ records: Type.Integer({ minimum: 0 }), hash: Type.String({ pattern: '^[0-9a-f]{64}$' }) })),
});
export type TrustRootState = Static<typeof trustRootStateSchema>;
export const parseTrustRootState = compileSchema(trustRootStateSchema);

export const MAX_STATE_BYTES = 16 * 1024 * 1024;
export const REFRESH_HINT_SECONDS = 300;
const KEEP_MS = 7 * 86_400_000;
const MAX_JOURNAL = 5_000;
const MAX_TOKENS = 1_000;

/** The state without what nobody can use or ask after any more: tokens and journal entries a week past their end. */
export function pruned(state: TrustRootState, nowMs: number): TrustRootState {
  const tokens = state.tokens.filter((t) => t.expiresAtMs + KEEP_MS > nowMs).slice(-MAX_TOKENS);
  const kept = state.journal.filter((e) => e.expiresAtMs + KEEP_MS > nowMs);
  // Over the bound, only entries that have run out may go: an unexpired certificate is never without its entry.
  const surplus = kept.length - MAX_JOURNAL;
  let dropped = 0;
  const journal = surplus <= 0 ? kept : kept.filter((e) => !(e.expiresAtMs <= nowMs && dropped++ < surplus));
  return { ...state, tokens, journal };
}

/** The state with a member joined, or its particulars changed; a trust domain that is new or came back gets its bundle. */
export function withMember(state: TrustRootState, member: Static<typeof memberSchema>): TrustRootState {
  const members = [...state.members.filter((m) => m.cluster !== member.cluster), member].sort((a, b) => (a.cluster < b.cluster ? -1 : 1));
  if (state.bundles.some((b) => b.trustDomain === member.trustDomain)) return { ...state, members };
  const { [member.trustDomain]: former = 0, ...formerSequences } = state.formerSequences;
  const bundle = { trustDomain: member.trustDomain, sequence: former + 1, refreshHintSeconds: REFRESH_HINT_SECONDS, x509Authorities: [...authoritiesOf(state)] };
  return { ...state, members, formerSequences, bundles: [...state.bundles, bundle] };
}

/** The state without a member: its bundle is gone from the view, its unused tokens are void. */
export function withoutMember(state: TrustRootState, cluster: string, trustDomain: string): TrustRootState {
  const bundle = state.bundles.find((b) => b.trustDomain === trustDomain);
  return {
    ...state,
    members: state.members.filter((m) => m.cluster !== cluster),
    bundles: state.bundles.filter((b) => b.trustDomain !== trustDomain),
    ...(state.fences !== undefined && { fences: state.fences.filter((fence) => fence.cluster !== cluster) }),
    formerSequences: bundle === undefined ? state.formerSequences : { ...state.formerSequences, [trustDomain]: bundle.sequence },
    tokens: state.tokens.filter((t) => t.cluster !== cluster || t.usedAtMs !== undefined),
  };
}

const MAX_JWT_KEYS = 8;

/** The state with these keys of JWT-SVIDs in a member's bundle; the same state when they are there already. **Throws** IDENTITY_DENIED, IDENTITY_JWT_INVALID. */
export function withJwtKeys(state: TrustRootState, trustDomain: string, keys: readonly trust.JwtAuthority[]): TrustRootState {
  const before = state.bundles.find((b) => b.trustDomain === trustDomain);
  if (before === undefined || !state.members.some((m) => m.trustDomain === trustDomain)) throw fail('IDENTITY_DENIED', `${trustDomain} is no member of ${state.federation}`);
  if (keys.length > MAX_JWT_KEYS || new Set(keys.map((k) => k.keyId)).size < keys.length) throw fail('IDENTITY_JWT_INVALID', `${keys.length} keys with distinct IDs are wanted, at most ${MAX_JWT_KEYS}`);
  const jwtAuthorities = keys.map(({ keyId, publicKey }) => ({ keyId, publicKey: strongKey(publicKey) }));
  if (isDeepStrictEqual(jwtAuthorities, before.jwtAuthorities ?? [])) return state;
  const bundle = parseBundle({ ...before, sequence: before.sequence + 1, jwtAuthorities });
  if (!bundle.ok) throw fail('IDENTITY_JWT_INVALID', formatProblems(bundle.problems));
  return { ...state, bundles: state.bundles.map((b) => (b === before ? bundle.value : b)) };
}

function strongKey(der: Uint8Array): string {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  } catch {
    throw fail('IDENTITY_JWT_INVALID', 'a key to be published is no public key in DER');
  }
  const weakness = key.asymmetricKeyType === 'ec' || key.asymmetricKeyType === 'rsa' ? weaknessOf(key) : 'it is neither EC nor RSA';
  if (weakness !== undefined) throw fail('IDENTITY_JWT_INVALID', `a key to be published is refused: ${weakness}`);
  return key.export({ type: 'spki', format: 'der' }).toString('base64');
}
