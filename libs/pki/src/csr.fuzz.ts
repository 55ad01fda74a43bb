// Fuzz target: a request is refused or has a strong key that signed it, within bounds; never an exception.
import { createPrivateKey } from 'node:crypto';
import type { SpiffeId } from '@isthmus/model';
import { makeCsr, parseCsr } from './csr.ts';
import { weaknessOf } from './key.ts';

/** Keys and signatures of Ed25519 are the same in every run. */
const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 5)]), format: 'der', type: 'pkcs8' });
const request = makeCsr({ key, spiffeId: 'spiffe://east.acme.example/agent/a' as SpiffeId });

export const target = {
  name: 'csr',
  seeds: [request, makeCsr({ key, spiffeId: `spiffe://east.acme.example/${'x'.repeat(300)}` as SpiffeId })],
  dictionary: [Buffer.from([0x30, 0x80]), Buffer.from([0x86, 1, 0]), Buffer.from('0603551d11', 'hex'), Buffer.from('0603551d13', 'hex'), Buffer.from('06082a8648ce3d030107', 'hex'), Buffer.from('06092a864886f70d010101', 'hex'), 'spiffe://'],
  maxBytes: 2_048,
  run(input: Buffer): void {
    const parsed = parseCsr(input);
    if (!parsed.ok) return;
    const { publicKey, spiffeIds, dnsNames } = parsed.value;
    if (weaknessOf(publicKey) !== undefined) throw new Error('a weak key was taken');
    if (spiffeIds.length + dnsNames.length > 16) throw new Error(`${spiffeIds.length + dnsNames.length} names were taken`);
    // Nobody here signs anything but these two requests, so nothing else can be taken as signed.
    if (spiffeIds.some((id) => !id.startsWith('spiffe://east.acme.example/'))) throw new Error(`a request that nobody signed was taken: ${spiffeIds.join()}`);
  },
};
