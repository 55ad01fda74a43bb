// Fuzz target: a token is refused or read whole; what is wrong with it never repeats it.
import { formatProblems } from '@isthmus/model';
import { parseToken } from './token.ts';

const body = Buffer.from(JSON.stringify({ cluster: 'east', pin: 'a'.repeat(64) })).toString('base64url');
const secret = Buffer.alloc(32, 3).toString('base64url');

export const target = {
  name: 'token',
  seeds: [Buffer.from(`ijt1.${body}.${secret}`), Buffer.from(`ict1.${body}.${secret}\n`), Buffer.from(`ijt1.${Buffer.from('{"__proto__":{"a":"b"}}').toString('base64url')}.${secret}`)],
  dictionary: ['ijt1.', 'ict1.', '.', '\n', secret, Buffer.from('"pin":').toString('base64url'), Buffer.from('"__proto__":').toString('base64url')],
  maxBytes: 1_024,
  run(input: Buffer): void {
    const text = input.toString('latin1');
    const parsed = parseToken(text);
    if (({} as { a?: unknown }).a !== undefined) throw new Error('a prototype was changed');
    if (parsed.ok && (!/^[0-9a-f]{64}$/.test(parsed.value.pinSha256) || !Object.values(parsed.value.fields).every((value) => typeof value === 'string'))) throw new Error('a token without a pin, or with fields of other kinds');
    if (!parsed.ok && text.length > 20 && formatProblems(parsed.problems).includes(text)) throw new Error('the refusal repeats the token');
  },
};
