// What can fail between control plane and proxy, each with its stable code.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  DISCOVERY_CALLER_REFUSED: { class: 'denied', doc: 'The caller is neither an agent nor a gateway of this cluster.' },
  DISCOVERY_PROTOCOL: { class: 'invalid', doc: 'A message came out of turn, or is none this version knows.' },
  DISCOVERY_ACK_LATE: { class: 'timeout', doc: 'A proxy did not answer an update in time; it reconnects and gets everything anew.' },
  DISCOVERY_SUPERSEDED: { class: 'conflict', doc: 'The same agent opened a newer stream; two machines with one identity do this to each other.' },
  DISCOVERY_TOO_MANY_PROXIES: { class: 'exhausted', doc: 'This control plane serves as many proxies as it may.' },
  DISCOVERY_CLOSING: { class: 'unavailable', doc: 'The control plane is going away; reconnect.' },
});
