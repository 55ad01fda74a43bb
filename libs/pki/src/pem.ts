// Certificates as text.
import { X509Certificate } from 'node:crypto';

/** A certificate as PEM. */
export function toPem(der: Buffer): string {
  return new X509Certificate(der).toString();
}
