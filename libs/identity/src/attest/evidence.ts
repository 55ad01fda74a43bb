// Evidence as it comes over the wire, held to sizes before anybody looks into it.
import { MAX_TOKEN_BYTES } from '@isthmus/pki';
import type { identity } from '@isthmus/rpc';
import { fail } from '../errors.ts';
import { type Evidence, evidenceRefused, type Method } from './attestor.ts';

const MAX_DOCUMENT_BYTES = 32 * 1024;
const MAX_CHAIN = 6;
const MAX_CERTIFICATE_BYTES = 16 * 1024;

/** The way in that a request takes; one without evidence counts as a token that is missing. */
export function methodOf({ evidence }: Pick<identity.JoinRequest, 'evidence'>): Method {
  const methods = { token: 'token', jwt: 'jwt', awsInstance: 'aws-instance', x509Proof: 'x509' } as const;
  return evidence === undefined ? 'token' : methods[evidence.$case];
}

/** The evidence of a request. **Throws** IDENTITY_ATTESTATION_REFUSED when it is too large, IDENTITY_TOKEN_REFUSED when there is none. */
export function evidenceOf({ evidence }: Pick<identity.JoinRequest, 'evidence'>): Evidence {
  switch (evidence?.$case) {
    case 'token':
      return { method: 'token', token: evidence.value };
    case 'jwt':
      if (evidence.value.length > MAX_TOKEN_BYTES) throw evidenceRefused('jwt', 'malformed', `it is larger than ${MAX_TOKEN_BYTES} bytes`);
      return { method: 'jwt', token: evidence.value };
    case 'awsInstance':
      if (evidence.value.pkcs7.length > MAX_DOCUMENT_BYTES) throw evidenceRefused('aws-instance', 'malformed', `it is larger than ${MAX_DOCUMENT_BYTES} bytes`);
      return { method: 'aws-instance', pkcs7: evidence.value.pkcs7 };
    case 'x509Proof': {
      const { chain, nonce, signature } = evidence.value;
      const isSmall = chain.length <= MAX_CHAIN && chain.every((der) => der.length <= MAX_CERTIFICATE_BYTES) && nonce.length <= 64 && signature.length <= 1_024;
      if (!isSmall) throw evidenceRefused('x509', 'malformed', 'its chain, nonce or signature is too large');
      return { method: 'x509', chain, nonce, signature };
    }
    case undefined:
      throw fail('IDENTITY_TOKEN_REFUSED', 'the request shows no evidence: neither a token nor anything else');
  }
}
