// Every failure the store reports, once.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  STORE_UNAVAILABLE: { class: 'unavailable', doc: 'The store could not be reached, or has no leader; nothing was changed.' },
  STORE_OUTCOME_UNKNOWN: { class: 'timeout', doc: 'A write was sent and no answer came: it may or may not have happened. Read before trying again.' },
  STORE_LEASE_LOST: { class: 'conflict', doc: 'The lease is gone or ran out, so what was to be written under it was not.' },
  STORE_COMPACTED: { class: 'conflict', doc: 'The store compacted the revision asked for, again and again, before the list was whole.' },
  STORE_TOO_LARGE: { class: 'invalid', doc: 'A key, value or transaction is over the store’s limits.' },
  STORE_FULL: { class: 'exhausted', doc: 'The store is over its space quota and takes no writes (etcd NOSPACE alarm). The first write that is refused may have been taken all the same.' },
  STORE_DENIED: { class: 'denied', doc: 'The store refuses this caller for this key.' },
  STORE_KEY_INVALID: { class: 'invalid', doc: 'A key is empty or has a segment that is not allowed.' },
  STORE_REFUSED: { class: 'internal', doc: 'The store refused a request as malformed; this is a fault in the program.' },
  STORE_CLOSED: { class: 'unavailable', doc: 'This client of the store is closed.' },
  STORE_NEWER: { class: 'invalid', doc: 'What lies in the store was written by a newer version of this program; nothing was changed.' },
  STORE_FILE_CORRUPT: { class: 'internal', doc: 'The embedded store’s file is damaged or cut short.' },
  STORE_FILE_UNUSABLE: { class: 'internal', doc: 'The embedded store’s file cannot be opened, or another process holds it.' },
  STORE_LISTEN: { class: 'unavailable', doc: 'The embedded store cannot listen on the address it was given.' },
});
