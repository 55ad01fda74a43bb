// The failures of the provider itself; those of the admin API pass through with their own codes.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  TERRAFORM_NOT_STARTED: { class: 'invalid', doc: 'The provider was started by somebody else than Terraform.' },
  TERRAFORM_PROTOCOL: { class: 'invalid', doc: 'Terraform does not speak version 6 of its plug-in protocol.' },
  TERRAFORM_VALUE_INVALID: { class: 'invalid', doc: 'A value from Terraform is not of the type the schema says; the text names the attribute.' },
  TERRAFORM_STATE_NEWER: { class: 'conflict', doc: 'The state was written by a newer provider.' },
  TERRAFORM_CONFIG_INVALID: { class: 'invalid', doc: 'The provider block is wrong; the text names the attribute.' },
  TERRAFORM_NOT_CONFIGURED: { class: 'invalid', doc: 'The provider block depends on values that are not known yet, or lacks what this needs.' },
  TERRAFORM_ID_INVALID: { class: 'invalid', doc: 'The ID given to import is none of this kind of resource.' },
  TERRAFORM_EXISTS: { class: 'conflict', doc: 'What should be created is there already.' },
  TERRAFORM_CHANGED: { class: 'conflict', doc: 'Somebody else changed it since Terraform read it; nothing was written.' },
  TERRAFORM_STOPPED: { class: 'unavailable', doc: 'Terraform was interrupted; what was not done yet is left as it was.' },
  TERRAFORM_UNANSWERED: { class: 'denied', doc: 'The admin API refused a call whose earlier try was not answered; whether that one was done nobody can tell.' },
  TERRAFORM_TIMEOUT: { class: 'timeout', doc: 'The time limit of the operation ended before the admin API did it.' },
});
