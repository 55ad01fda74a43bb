// The audiences a JWT-SVID may be asked for: bounded, and none empty (JWT-SVID §3.2).
import { quote } from '@isthmus/model';
import { fail } from './errors.ts';

const MAX_AUDIENCES = 16;
const MAX_AUDIENCE_CHARS = 512;

/** **Throws** IDENTITY_JWT_INVALID for none, too many, an empty, a long, or one with control characters. */
export function checkAudience(audience: readonly string[]): void {
  if (audience.length === 0 || audience.length > MAX_AUDIENCES) throw fail('IDENTITY_JWT_INVALID', `${audience.length} audiences are asked for, 1 to ${MAX_AUDIENCES} may be`);
  for (const one of audience) {
    if (one === '' || one.length > MAX_AUDIENCE_CHARS || /\p{Cc}/u.test(one)) throw fail('IDENTITY_JWT_INVALID', `${quote(one.slice(0, 80))} is no audience`);
  }
}
