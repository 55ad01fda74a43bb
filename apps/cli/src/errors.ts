// What the command line itself can fail with; codes of other libs pass through unchanged.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  CLI_SOCKET_ABSENT: { class: 'unavailable', doc: 'No process listens on the admin socket the command was to use.' },
  CLI_BAD_INPUT: { class: 'invalid', doc: 'An argument or option is malformed.' },
  CLI_BAD_DOCUMENT: { class: 'invalid', doc: 'A document given with -f is malformed, of an unknown kind or has unknown fields; nothing was applied.' },
  CLI_CONTEXT_UNKNOWN: { class: 'not-found', doc: 'There is no context of that name, or none is in use.' },
  CLI_CONTEXTS_BROKEN: { class: 'invalid', doc: 'The file of contexts is not of its form; nothing was changed.' },
  CLI_LOGGED_OUT: { class: 'unauthenticated', doc: 'The identity of the context has run out, and no token was given to get another.' },
  CLI_ISSUER: { class: 'unauthenticated', doc: 'The issuer gave no token for the client’s credentials; the text says what it answered.' },
  CLI_NOT_FOUND: { class: 'not-found', doc: 'What the command names does not exist.' },
  CLI_LOG_BROKEN: { class: 'invalid', doc: 'A transparency log does not hold: the first bad line is named with what is wrong with it.' },
  CLI_CAPTURE: { class: 'unavailable', doc: 'The rules of transparent capture cannot be made, put in force or removed; what was in force still is.' },
  CLI_ALREADY_JOINED: { class: 'conflict', doc: 'This host has a configuration of its agent already; nothing was changed.' },
  CLI_AMBIGUOUS: { class: 'invalid', doc: 'A name without namespace stands for more than one service.' },
  CLI_PORT_BUSY: { class: 'conflict', doc: 'A port the demo needs is taken by another program; nothing was started.' },
  CLI_PORT_RANGE: { class: 'invalid', doc: 'The range given with --ports is malformed or too small.' },
  CLI_DEMO_RUNNING: { class: 'conflict', doc: 'Another demo runs in the same state directory.' },
  CLI_ETCD_ABSENT: { class: 'unavailable', doc: 'The etcd binary is not on PATH.' },
  CLI_PROCESS_FAILED: { class: 'unavailable', doc: 'A process of the demo ended or did not become ready.' },
  CLI_TIMEOUT: { class: 'timeout', doc: 'A condition the demo waits for did not come true in time.' },
  CLI_TOUR_UNKNOWN: { class: 'invalid', doc: 'No tour has the name given with --tour.' },
  CLI_NOT_CONFIRMED: { class: 'invalid', doc: 'A command that cannot be undone was not confirmed; nothing was done.' },
  CLI_CHECK_FAILED: { class: 'internal', doc: 'A step of the scripted walk did not hold.' },
});
