// The failures a control plane reports of its own.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  CONTROL_PLANE_RESOURCE_INVALID: { class: 'invalid', doc: 'A document is no resource of a known kind, or a field of it is wrong.' },
  CONTROL_PLANE_KIND_UNKNOWN: { class: 'invalid', doc: 'A list or delete names a kind that does not exist.' },
  CONTROL_PLANE_EXPORT_WITHOUT_SERVICE: { class: 'invalid', doc: 'An export names a service that is not declared in this cluster.' },
  CONTROL_PLANE_SERVICE_EXPORTED: { class: 'conflict', doc: 'A service that is still exported cannot be deleted.' },
  CONTROL_PLANE_PROXY_UNKNOWN: { class: 'not-found', doc: 'No agent or gateway of that name has joined this cluster.' },
  CONTROL_PLANE_LAST_GATEWAY: { class: 'conflict', doc: 'The last gateway that takes connections is not drained: nobody could reach the cluster to take that back.' },
  CONTROL_PLANE_STALE: { class: 'conflict', doc: 'A write was made for another revision of the thing than the one there is; nothing was changed.' },
  CONTROL_PLANE_CONTENDED: { class: 'conflict', doc: 'A write lost its race against other writers of the same thing again and again; nothing was changed.' },
  CONTROL_PLANE_KEY_REUSED: { class: 'invalid', doc: 'An idempotency key was used before for another write; nothing was changed.' },
  CONTROL_PLANE_MEMORY_FULL: { class: 'exhausted', doc: 'So many writes with idempotency keys are remembered that no new key is taken.' },
  CONTROL_PLANE_WATCHERS_FULL: { class: 'exhausted', doc: 'So many watches are open that no new one is taken.' },
  CONTROL_PLANE_BUNDLE_ENDPOINT: { class: 'invalid', doc: 'The configuration of the bundle endpoint does not hold together.' },
  CONTROL_PLANE_STORE_AWAY: { class: 'unavailable', doc: 'The cluster store cannot be reached, so nothing was changed.' },
});
