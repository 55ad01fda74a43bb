// Fuzz target: a signed document is refused or is the one that was signed; never an exception.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { verifyPkcs7 } from './pkcs7.ts';

const folder = new URL('./testdata/pkcs7/', import.meta.url);
const document = readFileSync(new URL('document.ber', folder));
const pinned = [new X509Certificate(readFileSync(new URL('pinned.pem', folder)))];
const CONTENT = '{"instanceId":"i-0123456789abcdef0"}\n';
const nowMs = Date.parse(pinned[0]?.validFrom ?? '') + 86_400_000;

export const target = {
  name: 'pkcs7',
  seeds: [document],
  dictionary: [Buffer.from([0x30, 0x80]), Buffer.from([0x24, 0x80]), Buffer.from([0, 0]), Buffer.from([0xa0, 0x80]), Buffer.from('06092a864886f70d010702', 'hex'), Buffer.from('06092a864886f70d010904', 'hex')],
  maxBytes: 4_096,
  run(input: Buffer): void {
    const verdict = verifyPkcs7({ document: input, pinned, nowMs });
    if (verdict.ok && verdict.content.toString() !== CONTENT) throw new Error('a document that nobody signed was taken');
  },
};
