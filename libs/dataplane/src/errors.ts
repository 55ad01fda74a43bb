// Every failure the data plane reports, by its stable code.
import { defineErrors } from '@isthmus/model';

/** Makes a data-plane error from this catalogue; no other code is ever thrown. */
export const fail = defineErrors({
  DATAPLANE_CONNECT_FAILED: { class: 'unavailable', doc: 'TCP or TLS to an endpoint failed before anything was sent' },
  DATAPLANE_CONNECT_TIMEOUT: { class: 'timeout', doc: 'no verified TLS connection within the limit' },
  DATAPLANE_HANDSHAKE_FAILED: { class: 'unauthenticated', doc: 'a caller did not complete the TLS handshake' },
  DATAPLANE_NO_IDENTITY: { class: 'unavailable', doc: 'there is no SVID to show yet' },
  DATAPLANE_PEER_REFUSED: { class: 'unauthenticated', doc: 'the other end is not who it should be, or not verifiable' },
  DATAPLANE_LISTEN_FAILED: { class: 'conflict', doc: 'a listener could not be opened: the port is in use or not allowed' },
  DATAPLANE_BAD_RANGE: { class: 'invalid', doc: 'a range that PROXY headers are accepted from is not address/bits' },
  DATAPLANE_CAPTURE_INVALID: { class: 'invalid', doc: 'the settings of transparent capture cannot be used on this machine' },
  DATAPLANE_ENGINE_UNAVAILABLE: { class: 'unavailable', doc: 'the chosen relay engine cannot run on this system, or is not allowed to' },
});
