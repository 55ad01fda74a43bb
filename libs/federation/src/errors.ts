// What can fail between clusters, each with its stable code.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  FEDERATION_NO_SVID: { class: 'unavailable', doc: 'The control plane has no SVID yet to sign records with.' },
  FEDERATION_WRITE_CONFLICT: { class: 'conflict', doc: 'Somebody else keeps writing this cluster’s shared records.' },
});
