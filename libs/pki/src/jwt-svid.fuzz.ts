// Fuzz target: a JWT-SVID is refused or read by every rule of its standard; a refusal never repeats the token.
import { formatProblems } from '@isthmus/model';
import { JWT_ALGORITHMS, parseJwtSvid } from './jwt-token.ts';

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const claims = { sub: 'spiffe://east.acme.example/ns/shop/svc/payments', aud: ['a', 'b'], exp: 1_800_000_000, iat: 1_700_000_000 };
const token = (header: unknown, payload: unknown): Buffer => Buffer.from(`${part(header)}.${part(payload)}.AAAA`);

export const target = {
  name: 'jwt-svid',
  seeds: [token({ alg: 'ES256', kid: 'k', typ: 'JWT' }, claims), token({ alg: 'RS512' }, { ...claims, aud: 'a', nbf: 1 }), token({ alg: 'none' }, claims), token({ alg: 'PS256', crit: ['b64'], b64: false }, { ...claims, __proto__: { a: 1 } })],
  dictionary: ['.', part({ alg: 'none' }), part({ alg: 'HS256' }), part(claims), part([]), part(null), '=', '-', '_'],
  maxBytes: 2_048,
  run(input: Buffer): void {
    const text = input.toString('latin1');
    const read = parseJwtSvid(text);
    if (!read.ok) {
      if (text.length > 20 && formatProblems(read.problems).includes(text)) throw new Error('the refusal repeats the token');
      return;
    }
    const { algorithm, spiffeId, audience, expiresAtMs } = read.value;
    if (!JWT_ALGORITHMS.includes(algorithm)) throw new Error(`${algorithm} was taken`);
    if (!spiffeId.startsWith('spiffe://') || audience.length === 0 || !Number.isFinite(expiresAtMs)) throw new Error('a token without subject, audience or end was taken');
    if (text.split('.').some((piece) => Buffer.from(piece, 'base64url').toString('base64url') !== piece)) throw new Error('a second form of the same bytes was taken');
  },
};
