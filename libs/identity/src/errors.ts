// Every failure identity reports, once.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  IDENTITY_TOKEN_REFUSED: { class: 'unauthenticated', doc: 'A bootstrap or join token is garbage, expired, used, unknown, or made for another cluster or federation. The text says which.' },
  IDENTITY_TOKEN_INVALID: { class: 'invalid', doc: 'What was asked of a new token is wrong: a bad name, life or role.' },
  IDENTITY_TOKEN_FENCED: { class: 'conflict', doc: 'A token was not made because what its making depends on changed at the same moment; nothing was changed.' },
  IDENTITY_TOKEN_NOT_FOUND: { class: 'not-found', doc: 'There is no join token of that id.' },
  IDENTITY_CLUSTER_EXISTS: { class: 'conflict', doc: 'A cluster of that name is a member already; the member is left untouched.' },
  IDENTITY_CLUSTER_NOT_FOUND: { class: 'not-found', doc: 'No cluster of that name is a member of the federation.' },
  IDENTITY_CSR_REFUSED: { class: 'invalid', doc: 'A certificate signing request is malformed, weak, not signed by its own key, or asks for a name that is not the caller’s.' },
  IDENTITY_DENIED: { class: 'denied', doc: 'The caller may not have what it asked for.' },
  IDENTITY_RATE_LIMITED: { class: 'exhausted', doc: 'One caller asked for too many certificates; ask again later.' },
  IDENTITY_NO_IDENTITY: { class: 'unauthenticated', doc: 'There is neither a valid stored identity nor a token to get one with.' },
  IDENTITY_EXPIRED: { class: 'unavailable', doc: 'The signing certificate has run out and could not be renewed, so nothing can be issued.' },
  IDENTITY_PARENT_REFUSED: { class: 'unavailable', doc: 'What the authority above answered does not verify: wrong name, wrong key, or not signed by the known root.' },
  WORKLOAD_API_HEADER: { class: 'invalid', doc: 'A call to the Workload API came without the metadata `workload.spiffe.io: true`, which keeps requests forged through a proxy out.' },
  WORKLOAD_API_DENIED: { class: 'denied', doc: 'No workload of this agent has selectors that match the calling process, or not the identity it asked for.' },
  WORKLOAD_API_BUSY: { class: 'exhausted', doc: 'One user has too many calls to the Workload API open.' },
  WORKLOAD_API_NOT_READY: { class: 'unavailable', doc: 'The control plane has not issued the identity yet; call again.' },
  WORKLOAD_API_INVALID: { class: 'invalid', doc: 'A call to the Workload API has a field that cannot be, or a token that does not verify.' },
  IDENTITY_STATE_MISMATCH: { class: 'invalid', doc: 'The state directory belongs to another federation, cluster or key; nothing was changed.' },
  IDENTITY_LOG_BROKEN: { class: 'internal', doc: 'A transparency log was changed, cut or written anew; the first bad line is named, nothing was changed.' },
  IDENTITY_LOG_UNWRITABLE: { class: 'exhausted', doc: 'The transparency log cannot be written, mostly since the disk is full; what needs a record in it was not done.' },
  IDENTITY_STATE_CORRUPT: { class: 'internal', doc: 'A state file does not parse; restore it, nothing was changed.' },
});
