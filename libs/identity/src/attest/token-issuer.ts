// One issuer of tokens: where its keys are, and its tokens judged by them; keys that are new are looked for once, not at every token.
import { isDnsLabel, Type } from '@isthmus/model';
import { claimedIssuer, type TokenVerdict, verifyIssuerToken } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { jwksLoader, openIssuerKeys } from './issuer-keys.ts';

const filePath = (description: string) => Type.Optional(Type.String({ maxLength: 1_024, description }));

/** What is said of an issuer in a configuration, beside what its claims are good for. */
export const tokenIssuerFields = {
  name: Type.String({ maxLength: 63, description: 'what audit records and entries call this issuer; a DNS label' }),
  issuer: Type.String({ minLength: 1, maxLength: 512, description: 'the exact `iss` of its tokens' }),
  audience: Type.String({ minLength: 1, maxLength: 512, description: 'the `aud` its tokens must name: one made for this cluster alone' }),
  jwksUrl: Type.Optional(Type.String({ maxLength: 1_024, description: 'where its keys are, https' })),
  jwksFile: filePath('file with its keys, for issuers that cannot be reached; read again every 10 min'),
  discover: Type.Optional(Type.Boolean({ description: 'find its keys by <issuer>/.well-known/openid-configuration' })),
  caFile: filePath('PEM file with the CA of the server that has the keys (default: the public ones)'),
  bearerTokenFile: filePath('file with a token for that server'),
  maxLifeSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 604_800, default: 86_400, description: 'longest life of a token that is taken' })),
} as const;

export type TokenIssuerConfig = {
  readonly name: string;
  readonly issuer: string;
  readonly audience: string;
  readonly jwksUrl?: string | undefined;
  readonly jwksFile?: string | undefined;
  readonly discover?: boolean | undefined;
  readonly caFile?: string | undefined;
  readonly bearerTokenFile?: string | undefined;
  readonly maxLifeSeconds?: number | undefined;
};

export interface TokenIssuer<C extends TokenIssuerConfig = TokenIssuerConfig> {
  readonly config: C;
  /** Judges a token by this issuer's keys. **Throws** IDENTITY_ISSUER_AWAY while none are known. */
  judge(token: string): Promise<TokenVerdict>;
  close(): Promise<void>;
}

/** Opens an issuer; its keys are fetched when the first token comes, and after that not more than once in 10 s. */
export function openTokenIssuer<C extends TokenIssuerConfig>(config: C, parts: { readonly clock: Clock; readonly log: Log }): TokenIssuer<C> {
  const { name, issuer, audience, maxLifeSeconds = 86_400 } = config;
  const source = openIssuerKeys({ name, load: jwksLoader(config), ...parts });
  return {
    config,
    async judge(token) {
      const verify = async (): Promise<TokenVerdict> => verifyIssuerToken({ token, keys: await source.keys(), issuer, audience, maxLifeMs: maxLifeSeconds * 1_000, nowMs: parts.clock.nowMs() });
      const verdict = await verify();
      // The issuer may have changed its keys since: one look, not more often than the source allows.
      if (!verdict.ok && verdict.reason === 'unknown-key' && (await source.refresh())) return verify();
      return verdict;
    },
    close: () => source.close(),
  };
}

/** The issuer a token claims to be of, `malformed` where it claims none; the claim is only a choice of keys, the verdict judges it. */
export function chooseIssuer<I extends TokenIssuer>(issuers: readonly I[], token: string): I | 'malformed' | 'wrong-issuer' {
  const claimed = claimedIssuer(token);
  if (claimed === undefined) return 'malformed';
  const ofIssuer = issuers.filter(({ config }) => config.issuer === claimed.issuer);
  return ofIssuer.find(({ config }) => claimed.audiences.includes(config.audience)) ?? ofIssuer[0] ?? 'wrong-issuer';
}

/** What is wrong with an issuer's configuration beyond its form. */
export function tokenIssuerProblems(config: TokenIssuerConfig, place: string): string[] {
  const places = [config.jwksFile, config.jwksUrl, config.discover === true ? true : undefined].filter((one) => one !== undefined);
  return [
    ...(isDnsLabel(config.name) ? [] : [`${place}.name: is no DNS label`]),
    ...(places.length === 1 ? [] : [`${place}: needs exactly one of jwksUrl, jwksFile and discover: true`]),
  ];
}
