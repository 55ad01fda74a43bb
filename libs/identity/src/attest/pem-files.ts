// Certificates an operator configured by file: read when the control plane starts, refused by name where they are none.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';

const MAX_CERTIFICATES = 64;

/** Every certificate in these PEM files. **Throws** IDENTITY_ATTESTATION_CONFIG. */
export function certificatesOf(files: readonly string[], place: string): readonly X509Certificate[] {
  const all = files.flatMap((file) => {
    try {
      const blocks = readFileSync(file, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
      if (blocks.length === 0) throw new Error('it holds no certificate in PEM');
      return blocks.map((block) => new X509Certificate(block));
    } catch (cause) {
      throw fail('IDENTITY_ATTESTATION_CONFIG', `${place}: ${file} cannot be used: ${messageOf(cause)}`, { cause });
    }
  });
  if (all.length > MAX_CERTIFICATES) throw fail('IDENTITY_ATTESTATION_CONFIG', `${place}: ${all.length} certificates, at most ${MAX_CERTIFICATES} are taken`);
  return all;
}
