// The seam of attestation: evidence in, a verdict out; one attestor for each way in, and none knows another.
import type { Entry, IsthmusError } from '@isthmus/model';
import type { StoreCompare, StoreWrite } from '@isthmus/store';
import { fail } from '../errors.ts';

/** The ways in, as they are called in the configuration, in audit records and in entries. */
export type Method = 'token' | 'jwt' | 'aws-instance' | 'x509';

/** What a joiner shows, as it came over the wire: nothing in it is believed. */
export type Evidence =
  | { readonly method: 'token'; readonly token: string }
  | { readonly method: 'jwt'; readonly token: string }
  | { readonly method: 'aws-instance'; readonly pkcs7: Buffer }
  | { readonly method: 'x509'; readonly chain: readonly Buffer[]; readonly nonce: Buffer; readonly signature: Buffer };

/** What is known of the call the evidence came with. */
export type CallFacts = {
  /** Address of the caller, or of the gateway it came through. */
  readonly address: string;
  /** The connection, `address:port`. */
  readonly connection: string;
  /** SHA-256 of the signing request, which evidence signed on the spot must name. */
  readonly csrSha256: Buffer;
};

/** What a verdict grants: the name, and the services it may hold identities for. */
export type Grant = Pick<Entry, 'agent' | 'role' | 'services'>;

/** Evidence that holds. */
export type Verdict = Grant & {
  readonly method: Method;
  /** Who it proved to be, in the method's own words: at most 512 characters and no secret. */
  readonly subject: string;
  /** The join token's id, where that is the evidence. */
  readonly tokenId?: string;
  /** Whether the holder may attest again by itself, or an operator must let it. */
  readonly canReattest: boolean;
  /** What makes the evidence good once only: written with the entry, in one transaction. */
  readonly once: { readonly compare: readonly StoreCompare[]; readonly then: readonly StoreWrite[] };
  /** The refusal when that transaction does not hold. */
  readonly refusal: IsthmusError;
};

/** One way in. */
export interface Attestor<M extends Method = Method> {
  readonly method: M;
  /** **Throws** IDENTITY_ATTESTATION_REFUSED, IDENTITY_TOKEN_REFUSED; IDENTITY_ISSUER_AWAY when it cannot be judged now. */
  attest(evidence: Extract<Evidence, { method: M }>, facts: CallFacts): Promise<Verdict>;
  close(): Promise<void>;
}

/** Why evidence is refused: a word for counters and audit records. */
export type RefusalReason =
  | 'malformed'
  | 'not-configured'
  | 'algorithm'
  | 'unknown-key'
  | 'bad-signature'
  | 'untrusted'
  | 'wrong-issuer'
  | 'wrong-audience'
  | 'expired'
  | 'not-yet-valid'
  | 'no-expiry'
  | 'too-long-lived'
  | 'replayed'
  | 'no-rule'
  | 'bad-name'
  | 'name-taken'
  | 'removed'
  | 'known-instance'
  | 'challenge';

/** The one coded refusal of evidence; neither text nor facts hold the evidence itself. `subject` only where it was proven. */
export function evidenceRefused(method: Method, reason: RefusalReason, text: string, options: { readonly subject?: string; readonly hint?: string } = {}): IsthmusError {
  const { subject, hint } = options;
  return fail('IDENTITY_ATTESTATION_REFUSED', `the evidence (${method}) is refused: ${text}`, {
    facts: { method, reason, ...(subject !== undefined && { subject }) },
    ...(hint !== undefined && { hint }),
  });
}
