// The failures of making and reading keys, requests and certificates.
import { defineErrors } from '@isthmus/model';

export const fail = defineErrors({
  PKI_KEY_INVALID: { class: 'invalid', doc: 'A key is no PEM private key of a kind Isthmus uses.' },
  PKI_CERTIFICATE_INVALID: { class: 'invalid', doc: 'Bytes that should be a certificate do not parse as one, or do not belong to their key.' },
  PKI_ISSUER_EXPIRED: { class: 'unavailable', doc: 'The issuing certificate has run out, so nothing can be signed with it.' },
  PKI_SIGNER_WRONG: { class: 'internal', doc: 'A key outside this process, in a token or behind a program, answered with a signature that is not its own; nothing was made of it.' },
  PKI_JWT_INVALID: { class: 'invalid', doc: 'A JWT-SVID cannot be made as asked: the key does not sign that way, or name or audience are none.' },
  PKI_PASSPHRASE_REFUSED: { class: 'invalid', doc: 'A passphrase is too short to protect anything.' },
  PKI_SEALED_INVALID: { class: 'invalid', doc: 'What is under a passphrase does not open: another passphrase, cut short, changed, or of another version.' },
});
