// The failures of dialling and serving.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  RPC_UNAVAILABLE: { class: 'unavailable', doc: 'The other side cannot be reached, or the connection broke before it answered.' },
  RPC_TIMEOUT: { class: 'timeout', doc: 'The other side did not answer within the call’s limit.' },
  RPC_REFUSED: { class: 'internal', doc: 'The other side refused the call with a status that carries no Isthmus code.' },
  RPC_WRONG_SERVER: { class: 'denied', doc: 'The server proved another SPIFFE ID than the one that was called; the address or the token is of another cluster.' },
  RPC_PIN_MISMATCH: { class: 'denied', doc: 'The server’s root certificate is not the one the token names: this is another federation, or somebody in between.' },
  RPC_PORT_BUSY: { class: 'conflict', doc: 'Another program listens on the port this server wants.' },
  RPC_SOCKET_BUSY: { class: 'conflict', doc: 'Another process serves the Unix socket this server wants.' },
  RPC_SOCKET_PATH: { class: 'invalid', doc: 'The path of a Unix socket is longer than the system takes, or a file that is no socket is there.' },
  RPC_LISTEN_FAILED: { class: 'internal', doc: 'The server could not listen on its address.' },
  RPC_INTERNAL: { class: 'internal', doc: 'A call failed for a reason that is not told; the server’s log says why.' },
});
