// Every failure identity reports, once.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  IDENTITY_TOKEN_REFUSED: { class: 'unauthenticated', doc: 'A bootstrap or join token is garbage, expired, used, unknown, or made for another cluster or federation. The text says which.' },
  IDENTITY_TOKEN_INVALID: { class: 'invalid', doc: 'What was asked of a new token is wrong: a bad name, life or role.' },
  IDENTITY_TOKEN_NOT_FOUND: { class: 'not-found', doc: 'There is no join token of that id.' },
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
  IDENTITY_BUNDLE_UNREACHABLE: { class: 'unavailable', doc: 'A foreign bundle endpoint cannot be reached or does not answer with a document; the last good bundle stays in force.' },
  IDENTITY_BUNDLE_ENDPOINT_REFUSED: { class: 'denied', doc: 'What answers at a foreign bundle endpoint did not prove to be it, by its profile’s rule; nothing it said is taken.' },
  IDENTITY_BUNDLE_REFUSED: { class: 'invalid', doc: 'A foreign bundle document is garbage, older than the last good one, or altered under its sequence; the last good bundle stays in force.' },
  IDENTITY_BUNDLE_FINGERPRINT: { class: 'denied', doc: 'An imported bundle document does not have the SHA-256 it was expected to have; nothing was changed.' },
  IDENTITY_BUNDLE_ENDPOINT_FAILED: { class: 'invalid', doc: 'The certificate or key of this cluster’s `https_web` bundle endpoint cannot be read.' },
  IDENTITY_FOREIGN_UNKNOWN: { class: 'not-found', doc: 'No foreign trust domain of that name is federated with this cluster.' },
  IDENTITY_FOREIGN_IS_OURS: { class: 'conflict', doc: 'A trust domain of this federation cannot be a foreign one: nobody else’s keys may vouch for its names.' },
  IDENTITY_FOREIGN_LIMIT: { class: 'exhausted', doc: 'There are as many foreign trust domains as a cluster takes.' },
});
