// Fuzz target: what is read of a token before it is verified, and a JWKS, are refused or within bounds; never an exception.
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { claimedIssuer, parseJwks } from './issuer-token.ts';

/** Keys and signatures of Ed25519 are the same in every run. */
const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]), format: 'der', type: 'pkcs8' });
const jwks = JSON.stringify({ keys: [{ ...createPublicKey(key).export({ format: 'jwk' }), kid: 'k' }] });
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const body = `${part({ alg: 'EdDSA', kid: 'k' })}.${part({ iss: 'https://i.example', aud: 'a', sub: 's', iat: 1_800_000_000, exp: 1_800_000_600 })}`;
const token = `${body}.${sign(null, Buffer.from(body), key).toString('base64url')}`;

export const target = {
  name: 'issuer-token',
  seeds: [Buffer.from(token), Buffer.from(jwks)],
  dictionary: ['"alg":"none"', '"alg":"HS256"', '"crit":["b64"]', '"b64":false', '"exp":1e400', '"keys":[', '"kty":"OKP"', '..', 'eyJ'],
  maxBytes: 4_096,
  run(input: Buffer): void {
    const text = input.toString('latin1');
    const claimed = claimedIssuer(text);
    if (claimed !== undefined && [claimed.issuer, ...claimed.audiences].some((name) => typeof name !== 'string')) throw new Error('a name that is no text was taken');
    const read = parseJwks(text);
    if (read.ok && /"(d|p|q|k)":/.test(JSON.stringify(read.value.resolve.jwks()))) throw new Error('a secret half of a key was kept');
  },
};
