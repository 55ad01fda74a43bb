// Every failure identity reports, once.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  IDENTITY_TOKEN_REFUSED: { class: 'unauthenticated', doc: 'A bootstrap or join token is garbage, expired, used, unknown, or made for another cluster or federation. The text says which.' },
  IDENTITY_TOKEN_INVALID: { class: 'invalid', doc: 'What was asked of a new token is wrong: a bad name, life or role.' },
  IDENTITY_TOKEN_NOT_FOUND: { class: 'not-found', doc: 'There is no join token of that id.' },
  IDENTITY_ATTESTATION_REFUSED: { class: 'unauthenticated', doc: 'Evidence shown in order to join does not hold: the text says why, the audit record of the control plane by which method and for whom.' },
  IDENTITY_ATTESTATION_CONFIG: { class: 'invalid', doc: 'The attestation part of a configuration cannot be used; the text names every wrong place.' },
  IDENTITY_ISSUER_AWAY: { class: 'unavailable', doc: 'The keys of a token issuer could not be fetched yet, so its tokens cannot be judged.' },
  IDENTITY_EVIDENCE_MISSING: { class: 'unavailable', doc: 'What this proxy is to attest with cannot be read: a token or key file, or the address of the platform’s documents.' },
  IDENTITY_CLUSTER_EXISTS: { class: 'conflict', doc: 'A cluster of that name is a member already; the member is left untouched.' },
  IDENTITY_CLUSTER_NOT_FOUND: { class: 'not-found', doc: 'No cluster of that name is a member of the federation.' },
  IDENTITY_CSR_REFUSED: { class: 'invalid', doc: 'A certificate signing request is malformed, weak, not signed by its own key, or asks for a name that is not the caller’s.' },
  IDENTITY_DENIED: { class: 'denied', doc: 'The caller may not have what it asked for.' },
  IDENTITY_RATE_LIMITED: { class: 'exhausted', doc: 'One caller asked for too many certificates; ask again later.' },
  IDENTITY_NO_IDENTITY: { class: 'unauthenticated', doc: 'There is neither a valid stored identity nor a token to get one with.' },
  IDENTITY_EXPIRED: { class: 'unavailable', doc: 'The signing certificate has run out and could not be renewed, so nothing can be issued.' },
  IDENTITY_PARENT_REFUSED: { class: 'unavailable', doc: 'What the authority above answered does not verify: wrong name, wrong key, or not signed by the known root.' },
  IDENTITY_STATE_MISMATCH: { class: 'invalid', doc: 'The state directory belongs to another federation, cluster or key; nothing was changed.' },
  IDENTITY_STATE_CORRUPT: { class: 'internal', doc: 'A state file does not parse; restore it, nothing was changed.' },
});
