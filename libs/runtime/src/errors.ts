// The failures of running a process: its configuration, its state files, its ports.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  CONFIG_INVALID: { class: 'invalid', doc: 'The configuration does not parse, or a key is unknown, missing or of the wrong type; every problem is named with its place.' },
  CONFIG_NOT_FOUND: { class: 'not-found', doc: 'The configuration file cannot be read.' },
  STATE_CORRUPT: { class: 'internal', doc: 'A state file is cut short or was changed by another hand; restore it from a backup.' },
  STATE_EXPOSED: { class: 'denied', doc: 'A file that holds keys or state can be read by others, or has another owner.' },
  STATE_TOO_LARGE: { class: 'invalid', doc: 'A state file has, or would get, more bytes than it may.' },
  STATE_DISK_FULL: { class: 'exhausted', doc: 'The disk is full; the old state is kept and the change was not made.' },
  STATE_UNWRITABLE: { class: 'internal', doc: 'A state file cannot be read or written.' },
  PEER_CREDENTIALS: { class: 'internal', doc: 'The system does not tell who is at the other end of a Unix socket, or this program cannot ask it.' },
  PROCESS_HAND_OVER_FAILED: { class: 'unavailable', doc: 'A successor of this process could not be started or did not come up; before it was let go ahead nothing has changed.' },
  PORT_DENIED: { class: 'denied', doc: 'A port below 1024 is wanted without the right to it.' },
  PORT_BUSY: { class: 'conflict', doc: 'Another program listens on a port that is wanted.' },
});
