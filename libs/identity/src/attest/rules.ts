// Rules that map what evidence proved to a name and services: exact values and prefixes, the first rule that matches. Pure.
import { createHash } from 'node:crypto';
import { isDnsLabel, parseServiceName, quote, type Static, strict, Type } from '@isthmus/model';
import type { Grant } from './attestor.ts';

const MAX_RULES = 256;
const path = Type.String({ minLength: 1, maxLength: 256 });

/** What must hold of claims for a rule to count. */
export const claimsMatchSchema = Type.Record(path, Type.Union([Type.String({ maxLength: 512 }), strict({ prefix: Type.String({ minLength: 1, maxLength: 512 }) })]), {
  minProperties: 1,
  maxProperties: 16,
  description: 'what must hold, by claim or JSON pointer (/kubernetes.io/namespace): the exact value, or `prefix`; of a list, one of its items',
});
export type ClaimsMatch = Static<typeof claimsMatchSchema>;

/** One rule of a method. */
export const ruleSchema = strict({
  match: claimsMatchSchema,
  agent: Type.String({ minLength: 1, maxLength: 256, description: 'name of the agent; {claim} is put in, {claim|hash} as 16 hex digits of its SHA-256' }),
  role: Type.Optional(Type.Union([Type.Literal('agent'), Type.Literal('gateway')], { default: 'agent' })),
  services: Type.Optional(Type.Array(Type.String({ maxLength: 256 }), { maxItems: 64, description: 'namespace/service names it may hold identities for; {claim} as in agent' })),
});
export type Rule = Static<typeof ruleSchema>;
export const rulesSchema = Type.Array(ruleSchema, { minItems: 1, maxItems: MAX_RULES, description: 'the first that matches decides; without one the evidence is refused' });

/** What a method proved, by name: text, numbers and booleans; lists of them; objects of all these. */
export type Claims = Readonly<Record<string, unknown>>;

export type Mapped = { readonly ok: true; readonly grant: Grant } | { readonly ok: false; readonly reason: 'no-rule' | 'bad-name'; readonly detail: string };

/** The grant of the first rule that matches these claims; a name that is no DNS label is refused, never bent into one. */
export function mapClaims(rules: readonly Rule[], claims: Claims): Mapped {
  const index = rules.findIndex((rule) => claimsMatch(rule.match, claims));
  const rule = rules[index];
  if (rule === undefined) return { ok: false, reason: 'no-rule', detail: 'no rule matches its claims' };
  const bad = (detail: string): Mapped => ({ ok: false, reason: 'bad-name', detail: `rule ${index + 1}: ${detail}` });
  const agent = fill(rule.agent, claims);
  if (!agent.ok) return bad(agent.detail);
  if (!isDnsLabel(agent.text)) return bad(`${quote(agent.text)} is no name of an agent (1-63 of a-z, 0-9 and -)`);
  const services: string[] = [];
  for (const template of rule.services ?? []) {
    const service = fill(template, claims);
    if (!service.ok) return bad(service.detail);
    if (!parseServiceName(service.text, 'services').ok) return bad(`${quote(service.text)} is no service name`);
    services.push(service.text);
  }
  const role = rule.role ?? 'agent';
  if (role === 'gateway' && services.length > 0) return bad('a gateway holds no service’s identity');
  return { ok: true, grant: { agent: agent.text, role, services: [...new Set(services)] } };
}

/** Whether all of it holds of these claims. */
export function claimsMatch(match: ClaimsMatch, claims: Claims): boolean {
  return Object.entries(match).every(([at, want]) => holds(valueAt(claims, at), want));
}

/** What is wrong with rules before any evidence is seen: templates that cannot be read. */
export function ruleProblems(rules: readonly Rule[], place: string): string[] {
  return rules.flatMap((rule, i) =>
    [rule.agent, ...(rule.services ?? [])].filter((template) => /[{}]/.test(template.replaceAll(PLACE, ''))).map((template) => `${place}.rules[${i}]: ${quote(template)} has a brace that belongs to no {claim}`),
  );
}

/** The value at a claim's name, or at a JSON pointer (RFC 6901) where the text begins with a slash. */
export function valueAt(claims: Claims, at: string): unknown {
  const steps = at.startsWith('/') ? at.slice(1).split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~')) : [at];
  let value: unknown = claims;
  for (const step of steps) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

function holds(value: unknown, want: ClaimsMatch[string]): boolean {
  if (Array.isArray(value)) return value.slice(0, 1_000).some((item) => !Array.isArray(item) && holds(item, want));
  const text = textOf(value);
  if (text === undefined) return false;
  return typeof want === 'string' ? text === want : text.startsWith(want.prefix);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

/** `{claim}` or `{/json/pointer}`, with `|hash` for values that are no names. */
const PLACE = /\{([^{}|]{1,256})(\|hash)?\}/g;

type Filled = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly detail: string };

function fill(template: string, claims: Claims): Filled {
  let missing: string | undefined;
  const text = template.replaceAll(PLACE, (_place, at: string, hash: string | undefined) => {
    const value = textOf(valueAt(claims, at));
    if (value === undefined) missing ??= `it has no claim ${quote(at)}`;
    // A value may not bring separators of its own: one that is no plain word is refused or hashed.
    else if (hash === undefined && !/^[a-z0-9-]{1,63}$/.test(value)) missing ??= `claim ${quote(at)} is no plain word of a-z, 0-9 and - (use {${at}|hash})`;
    return hash === undefined ? (value ?? '') : createHash('sha256').update(value ?? '').digest('hex').slice(0, 16);
  });
  return missing === undefined ? { ok: true, text } : { ok: false, detail: missing };
}
