// What can fail between control plane and proxy, each with its stable code.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  DISCOVERY_CALLER_REFUSED: { class: 'denied', doc: 'The caller is neither an agent nor a gateway of this cluster.' },
  DISCOVERY_PROTOCOL: { class: 'invalid', doc: 'A message came out of turn, or is none this version knows.' },
  DISCOVERY_ACK_LATE: { class: 'timeout', doc: 'A proxy did not answer an update in time; it reconnects and gets everything anew.' },
  DISCOVERY_SUPERSEDED: { class: 'conflict', doc: 'The same agent opened a newer stream; two machines with one identity do this to each other.' },
  DISCOVERY_TOO_MANY_PROXIES: { class: 'exhausted', doc: 'This control plane serves as many proxies as it may.' },
  DISCOVERY_KUBERNETES_CONFIG: { class: 'invalid', doc: 'The kubeconfig, or what else says how to reach a Kubernetes API server, cannot be used; the text names the place.' },
  DISCOVERY_KUBERNETES_AWAY: { class: 'unavailable', doc: 'The Kubernetes API server cannot be reached or does not answer; what is known of it stays, and it is asked again.' },
  DISCOVERY_KUBERNETES_REFUSED: { class: 'denied', doc: 'The Kubernetes API server does not allow, or does not know, what it was asked; the text has its reason.' },
  DISCOVERY_KUBERNETES_GONE: { class: 'conflict', doc: 'The Kubernetes API server has forgotten the version a watch or list was to go on from; everything is listed anew.' },
  DISCOVERY_KUBERNETES_ANSWER: { class: 'invalid', doc: 'What the Kubernetes API server sent cannot be understood or is too large; what is known stays.' },
  DISCOVERY_KUBERNETES_TOO_MANY: { class: 'exhausted', doc: 'There are more Kubernetes objects than are followed; what is known stays.' },
  DISCOVERY_CLOSING: { class: 'unavailable', doc: 'The control plane is going away; reconnect.' },
});
