// Attestation by a token of another issuer: Kubernetes service accounts, cloud identities, any OpenID Connect issuer.
import { type Static, strict } from '@isthmus/model';
import { sha256Hex, type TokenVerdict } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { type Attestor, evidenceRefused, type Verdict } from './attestor.ts';
import { mapClaims, ruleProblems, rulesSchema } from './rules.ts';
import { chooseIssuer, openTokenIssuer, tokenIssuerFields, tokenIssuerProblems } from './token-issuer.ts';
import { onceUntil } from './used.ts';

/** One issuer whose tokens are taken. */
export const jwtIssuerSchema = strict({ ...tokenIssuerFields, rules: rulesSchema });
export type JwtIssuer = Static<typeof jwtIssuerSchema>;

/** Opens the attestor of these issuers; keys are fetched when the first token comes. **Throws** IDENTITY_ATTESTATION_CONFIG. */
export function openJwtAttestor(issuers: readonly JwtIssuer[], parts: { readonly clock: Clock; readonly log: Log }): Attestor<'jwt'> {
  const problems = issuers.flatMap((issuer, i) => [...tokenIssuerProblems(issuer, `attestation.jwt[${i}]`), ...ruleProblems(issuer.rules, `attestation.jwt[${i}]`)]);
  if (problems.length > 0) throw fail('IDENTITY_ATTESTATION_CONFIG', problems.join('; '));
  const opened = issuers.map((config) => openTokenIssuer(config, parts));
  return {
    method: 'jwt',
    async attest({ token }) {
      const issuer = chooseIssuer(opened, token);
      if (issuer === 'malformed') throw evidenceRefused('jwt', 'malformed', 'it is no token with an issuer');
      if (issuer === 'wrong-issuer') throw evidenceRefused('jwt', 'wrong-issuer', 'its issuer is none of those configured');
      const verdict = await issuer.judge(token);
      if (!verdict.ok) throw evidenceRefused('jwt', verdict.reason, `issuer ${issuer.config.name}: ${verdict.detail}`);
      return granted(issuer.config, token, verdict);
    },
    async close() {
      await Promise.all(opened.map((issuer) => issuer.close()));
    },
  };
}

function granted(config: JwtIssuer, token: string, verdict: Extract<TokenVerdict, { ok: true }>): Verdict {
  const subject = `${config.name} ${verdict.subject}`;
  const mapped = mapClaims(config.rules, verdict.claims);
  if (!mapped.ok) throw evidenceRefused('jwt', mapped.reason, mapped.detail, { subject, hint: 'the rules of this issuer in the control plane’s attestation.jwt decide' });
  // A signature can be written in more than one way (ECDSA's twin, base64 padding bits): what is signed is what is used once.
  const { jti } = verdict.claims;
  const used = sha256Hex(typeof jti === 'string' && jti !== '' ? `jti ${config.issuer} ${jti}` : `jws ${token.split('.').slice(0, 2).join('.')}`);
  return {
    ...mapped.grant,
    method: 'jwt',
    subject,
    canReattest: true,
    once: onceUntil(keys.usedEvidence('jwt', used), verdict.expiresAtMs),
    refusal: evidenceRefused('jwt', 'replayed', 'it was used before', { subject, hint: 'a new token is needed for each attestation' }),
  };
}
