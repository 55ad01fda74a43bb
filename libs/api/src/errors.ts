// The failures of the admin API itself; those of the parts behind it pass through with their own codes.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  API_UNAUTHENTICATED: { class: 'unauthenticated', doc: 'The request proves no identity: neither a client certificate of the federation nor a valid bearer token.' },
  API_DENIED: { class: 'denied', doc: 'The caller has no role that may do this, or not in this cluster or namespace.' },
  API_INVALID: { class: 'invalid', doc: 'A parameter, header or body is wrong; the text names each field.' },
  API_BODY_TOO_LARGE: { class: 'invalid', doc: 'The body is larger than 1 MiB.' },
  API_MEDIA_TYPE: { class: 'invalid', doc: 'The body is not application/json.' },
  API_METHOD_NOT_ALLOWED: { class: 'invalid', doc: 'The path exists, but not with this method.' },
  API_NOT_FOUND: { class: 'not-found', doc: 'There is no such path, or nothing of that name.' },
  API_RATE_LIMITED: { class: 'exhausted', doc: 'One caller sent too many requests; Retry-After says when to come again.' },
  API_WATCHERS_FULL: { class: 'exhausted', doc: 'So many watches are open that no new one is taken.' },
  API_CLUSTER_UNKNOWN: { class: 'not-found', doc: 'No cluster of that name is a member of the federation.' },
  API_CLUSTER_UNREACHABLE: { class: 'unavailable', doc: 'The cluster that owns this cannot be reached through its gateways; other clusters are not touched by that.' },
  API_FORWARD_REFUSED: { class: 'denied', doc: 'Another cluster’s admin API forwarded a request it may not forward.' },
  API_AUDIT_UNWRITABLE: { class: 'unavailable', doc: 'The audit log cannot be written, so nothing is changed.' },
  API_TRUST_ROOT_ABSENT: { class: 'unavailable', doc: 'The admin API was not told where the trust root is, so the federation’s root of trust is not within its reach.' },
  API_OIDC_CONFIG: { class: 'invalid', doc: 'An issuer of bearer tokens is configured in a way that cannot be.' },
  API_ANSWER_INVALID: { class: 'internal', doc: 'The admin API answered something that is no answer of its contract.' },
  API_UNREACHABLE: { class: 'unavailable', doc: 'The admin API cannot be reached, or the connection broke before it answered.' },
  API_INTERNAL: { class: 'internal', doc: 'A request failed for a reason that is not told; the server’s log says why.' },
});
