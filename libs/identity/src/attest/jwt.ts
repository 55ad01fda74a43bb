// Attestation by a token of another issuer: Kubernetes service accounts, cloud identities, any OpenID Connect issuer.
import { isDnsLabel, type Static, strict, Type } from '@isthmus/model';
import { claimedIssuer, sha256Hex, type TokenVerdict, verifyIssuerToken } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { type Attestor, evidenceRefused, type Verdict } from './attestor.ts';
import { type IssuerKeySource, jwksLoader, openIssuerKeys } from './issuer-keys.ts';
import { mapClaims, ruleProblems, rulesSchema } from './rules.ts';
import { onceUntil } from './used.ts';

const filePath = (description: string) => Type.Optional(Type.String({ maxLength: 1_024, description }));

/** One issuer whose tokens are taken. */
export const jwtIssuerSchema = strict({
  name: Type.String({ maxLength: 63, description: 'what audit records and entries call this issuer; a DNS label' }),
  issuer: Type.String({ minLength: 1, maxLength: 512, description: 'the exact `iss` of its tokens' }),
  audience: Type.String({ minLength: 1, maxLength: 512, description: 'the `aud` its tokens must name: one made for this cluster alone' }),
  jwksUrl: Type.Optional(Type.String({ maxLength: 1_024, description: 'where its keys are, https' })),
  jwksFile: filePath('file with its keys, for issuers that cannot be reached; read again every 10 min'),
  discover: Type.Optional(Type.Boolean({ description: 'find its keys by <issuer>/.well-known/openid-configuration' })),
  caFile: filePath('PEM file with the CA of the server that has the keys (default: the public ones)'),
  bearerTokenFile: filePath('file with a token for that server'),
  maxLifeSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 604_800, default: 86_400, description: 'longest life of a token that is taken' })),
  rules: rulesSchema,
});
export type JwtIssuer = Static<typeof jwtIssuerSchema>;

type Opened = { readonly config: JwtIssuer; readonly source: IssuerKeySource };

/** Opens the attestor of these issuers; keys are fetched when the first token comes. **Throws** IDENTITY_ATTESTATION_CONFIG. */
export function openJwtAttestor(issuers: readonly JwtIssuer[], parts: { readonly clock: Clock; readonly log: Log }): Attestor<'jwt'> {
  const problems = issuers.flatMap((issuer, i) => configProblems(issuer, `attestation.jwt[${i}]`));
  if (problems.length > 0) throw fail('IDENTITY_ATTESTATION_CONFIG', problems.join('; '));
  const opened = issuers.map((config): Opened => ({ config, source: openIssuerKeys({ name: config.name, load: jwksLoader(config), ...parts }) }));
  return {
    method: 'jwt',
    async attest({ token }) {
      const { config, source } = chosen(opened, token);
      const verdict = await judged(config, source, token, parts.clock.nowMs());
      if (!verdict.ok) throw evidenceRefused('jwt', verdict.reason, `issuer ${config.name}: ${verdict.detail}`);
      return granted(config, token, verdict);
    },
    async close() {
      await Promise.all(opened.map(({ source }) => source.close()));
    },
  };
}

/** The issuer a token claims to be of; the claim is only a choice of keys, the verdict judges it. */
function chosen(opened: readonly Opened[], token: string): Opened {
  const claimed = claimedIssuer(token);
  if (claimed === undefined) throw evidenceRefused('jwt', 'malformed', 'it is no token with an issuer');
  const ofIssuer = opened.filter(({ config }) => config.issuer === claimed.issuer);
  const found = ofIssuer.find(({ config }) => claimed.audiences.includes(config.audience)) ?? ofIssuer[0];
  if (found === undefined) throw evidenceRefused('jwt', 'wrong-issuer', 'its issuer is none of those configured');
  return found;
}

async function judged(config: JwtIssuer, source: IssuerKeySource, token: string, nowMs: number): Promise<TokenVerdict> {
  const { issuer, audience, maxLifeSeconds = 86_400 } = config;
  const verify = async (): Promise<TokenVerdict> => verifyIssuerToken({ token, keys: await source.keys(), issuer, audience, maxLifeMs: maxLifeSeconds * 1_000, nowMs });
  const verdict = await verify();
  // The issuer may have changed its keys since: one look, not more often than the source allows.
  if (!verdict.ok && verdict.reason === 'unknown-key' && (await source.refresh())) return verify();
  return verdict;
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

function configProblems(config: JwtIssuer, place: string): string[] {
  const places = [config.jwksFile, config.jwksUrl, config.discover === true ? true : undefined].filter((one) => one !== undefined);
  return [
    ...(isDnsLabel(config.name) ? [] : [`${place}.name: is no DNS label`]),
    ...(places.length === 1 ? [] : [`${place}: needs exactly one of jwksUrl, jwksFile and discover: true`]),
    ...ruleProblems(config.rules, place),
  ];
}
