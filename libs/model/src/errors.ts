// The failures of the words themselves.
import { defineErrors } from './error.ts';

export const fail = defineErrors({
  MODEL_INVALID: { class: 'invalid', doc: 'A name or document does not parse; the text names every problem and its place.' },
});
