// Every failure the agent itself reports, by its stable code.
import { defineErrors } from '@isthmus/model';

/** Makes an agent error from this catalogue. */
export const fail = defineErrors({
  AGENT_NAME_MISMATCH: { class: 'invalid', doc: 'the configured name is not the one the agent’s identity was made for' },
  AGENT_WORKLOAD_INVALID: { class: 'invalid', doc: 'a workload file or entry cannot be used' },
  AGENT_WORKLOAD_UNKNOWN: { class: 'not-found', doc: 'no such workload beside this agent' },
  AGENT_PORT_RANGE: { class: 'exhausted', doc: 'the inbound port range or the outbound address range has no free place left' },
  AGENT_CONFIG: { class: 'invalid', doc: 'settings that are each valid do not go together' },
});
