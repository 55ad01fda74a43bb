// Bearer tokens of OpenID Connect issuers: judged by the issuer's keys, their claims mapped to grants by this cluster's own rules.
import { fail } from '@isthmus/api';
import { chooseIssuer, type Claims, claimsMatch, openTokenIssuer, tokenIssuerProblems } from '@isthmus/identity';
import type { Clock } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import type { OidcIssuer } from '../config.ts';
import type { Caller, Grant } from './grants.ts';

/** What a token proved, or what another cluster's admin API says it proved. */
export type TokenCaller = Caller & { readonly issuer: string; readonly claims: Claims };

export interface Oidc {
  /** The caller of a token. **Throws** API_UNAUTHENTICATED saying why, IDENTITY_ISSUER_AWAY while the issuer's keys are not known. */
  authenticate(token: string): Promise<TokenCaller>;
  /** Grants by the rules of an issuer of this name and address; none where it is not configured here. */
  grantsBy(name: string, claims: Claims): readonly Grant[];
  close(): Promise<void>;
}

/** Opens the issuers. **Throws** API_OIDC_CONFIG. */
export function openOidc(options: { readonly issuers: readonly OidcIssuer[]; readonly clock: Clock; readonly log: Log }): Oidc {
  const { issuers, clock, log } = options;
  const problems = [
    ...issuers.flatMap((issuer, i) => tokenIssuerProblems(issuer, `oidc[${i}]`)),
    ...issuers.flatMap((issuer, i) => (issuers.findIndex((other) => other.name === issuer.name) < i ? [`oidc[${i}].name: ${issuer.name} stands twice`] : [])),
  ];
  if (problems.length > 0) throw fail('API_OIDC_CONFIG', problems.join('; '));
  const opened = issuers.map((config) => openTokenIssuer(config, { clock, log }));
  return {
    authenticate: async (token) => {
      const issuer = chooseIssuer(opened, token);
      if (issuer === 'malformed') throw refused('malformed', 'it is no token with an issuer');
      if (issuer === 'wrong-issuer') throw refused('wrong-issuer', 'its issuer is none of those configured');
      const verdict = await issuer.judge(token);
      if (!verdict.ok) throw refused(verdict.reason, verdict.detail);
      const { config } = issuer;
      return { id: tokenCallerId(config.name, verdict.subject), issuer: config.issuer, claims: verdict.claims, grants: grantsOfRules(config, verdict.claims) };
    },
    grantsBy: (name, claims) => {
      const config = issuers.find((issuer) => issuer.name === name && issuer.issuer === claims['iss']);
      return config === undefined ? [] : grantsOfRules(config, claims);
    },
    close: async () => void (await Promise.all(opened.map((issuer) => issuer.close()))),
  };
}

/** `oidc:<issuer's name>:<subject>`, in characters a header can carry. */
export function tokenCallerId(name: string, subject: string): string {
  return `oidc:${name}:${subject.toWellFormed().replace(/[^\x21-\x7e]|%/gu, (one) => encodeURIComponent(one))}`;
}

function grantsOfRules(config: OidcIssuer, claims: Claims): readonly Grant[] {
  return config.rules
    .filter((rule) => claimsMatch(rule.match, claims))
    .map(({ role, clusters = 'all', namespaces = 'all' }) => ({ who: `claims of ${config.name}`, role, clusters, namespaces }));
}

/** The token itself is in no message: what it says of itself is enough to see why. */
function refused(reason: string, detail: string): Error {
  return fail('API_UNAUTHENTICATED', `the bearer token is refused (${reason}): ${detail}`, { hint: reason === 'expired' ? 'get a new one from its issuer' : 'issuer, audience and rules are in `oidc` of the admin API’s configuration' });
}
