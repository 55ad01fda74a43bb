// Fuzz target: DER that is taken can be written again, and what is written says the same.
import { createPrivateKey } from 'node:crypto';
import type { SpiffeId } from '@isthmus/model';
import { makeCsr } from './csr.ts';
import { type Asn1, bool, fromDer, octets, oid, seq, set, smallInt, tagged, toDer, utf8 } from './der.ts';
import { OID } from './oid.ts';

const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 5)]), format: 'der', type: 'pkcs8' });

export const target = {
  name: 'der',
  seeds: [
    makeCsr({ key, spiffeId: 'spiffe://east.acme.example/agent/a' as SpiffeId }),
    toDer(seq(oid(OID.subjectAltName), bool(true), octets(toDer(seq(tagged(6, Buffer.from('spiffe://a/b'))))))),
    toDer(set(seq(smallInt(1), utf8('x')), tagged(0, [seq()]))),
  ],
  dictionary: [Buffer.from([0x30, 0x80]), Buffer.from([0, 0]), Buffer.from([0x30, 0x82]), Buffer.from([0x84, 0xff, 0xff, 0xff, 0xff]), Buffer.from([0x1f, 0x81]), Buffer.from([3, 1, 0]), Buffer.from([0xa0])],
  maxBytes: 2_048,
  run(input: Buffer): void {
    let value: Asn1;
    try {
      value = fromDer(input);
    } catch {
      return;
    }
    const written = toDer(value);
    const again = toDer(fromDer(written));
    if (!written.equals(again)) throw new Error('what was written reads back as something else');
  },
};
