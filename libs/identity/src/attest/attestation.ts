// All ways in behind one door: evidence goes to its attestor, and every outcome leaves a counter and an audit record.
import { IsthmusError, messageOf, type Static, strict, type TrustDomain, Type } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { TokenStore } from '../issuance/join-tokens.ts';
import { openRateLimit } from '../rate-limit.ts';
import { type Attestor, type CallFacts, type Evidence, evidenceRefused, type Method, type Verdict } from './attestor.ts';
import { awsInstanceSchema, openAwsInstanceAttestor } from './aws-instance.ts';
import { type Challenges, openChallenges } from './challenges.ts';
import { openTokenAttestor } from './join-token.ts';
import { jwtIssuerSchema, openJwtAttestor } from './jwt.ts';
import { openX509Attestor, x509Schema } from './x509-possession.ts';

/** The ways in besides the join token, each closed until it is configured. */
export const attestationSchema = strict({
  clones: Type.Optional(
    Type.Union([Type.Literal('flag'), Type.Literal('block')], { default: 'flag', description: 'what is done when two hold the identity of one agent: say so, or refuse to renew for the second as well' }),
  ),
  jwt: Type.Optional(Type.Array(jwtIssuerSchema, { maxItems: 32, description: 'issuers whose tokens are taken: Kubernetes, clouds, any OpenID Connect issuer' })),
  awsInstance: Type.Optional(Type.Array(awsInstanceSchema, { maxItems: 32, description: 'AWS instances, by their signed identity documents; each joins once' })),
  x509: Type.Optional(Type.Array(x509Schema, { maxItems: 32, description: 'CAs whose certificates let their holders in, by proof of possession' })),
});
export type AttestationConfig = Static<typeof attestationSchema>;

export interface Attestation {
  /** **Throws** what the attestor throws; IDENTITY_ATTESTATION_REFUSED where that way is not configured. */
  attest(evidence: Evidence, facts: CallFacts): Promise<Verdict>;
  /** A nonce for this connection. **Throws** IDENTITY_ATTESTATION_REFUSED where no method asks for one. */
  challenge(connection: string): { readonly nonce: Buffer; readonly lifeMs: number };
  /** Writes the audit record and counts; `outcome` is the verdict that was admitted, or what was thrown. */
  audit(method: Method, facts: CallFacts, outcome: { readonly verdict: Verdict } | { readonly error: unknown }): void;
  close(): Promise<void>;
}

/** **Throws** IDENTITY_ATTESTATION_CONFIG naming every wrong place. */
export function openAttestation(config: AttestationConfig, parts: { readonly tokens: TokenStore; readonly trustDomain: TrustDomain; readonly clock: Clock; readonly log: Log; readonly metrics: Metrics }): Attestation {
  const attestors = new Map<Method, Attestor>();
  const add = (attestor: Attestor): void => void attestors.set(attestor.method, attestor);
  add(openTokenAttestor(parts.tokens, parts.clock) as Attestor);
  if (config.jwt !== undefined) add(openJwtAttestor(config.jwt, parts) as Attestor);
  if (config.awsInstance !== undefined) add(openAwsInstanceAttestor(config.awsInstance, parts) as Attestor);
  const challenges: Challenges = openChallenges(parts.clock);
  if (config.x509 !== undefined) add(openX509Attestor(config.x509, { ...parts, challenges }) as Attestor);
  const counted = parts.metrics.counter('isthmus_identity_attestations_total', 'Attempts to join, by method and outcome (admitted, or why not)', ['method', 'outcome']);

  const storms = openRateLimit({ burst: 1, perSecond: 1, clock: parts.clock, maxCallers: 1_000 });

  const configured = (method: Method): Attestor => {
    const attestor = attestors.get(method);
    if (attestor !== undefined) return attestor;
    throw evidenceRefused(method, 'not-configured', 'this cluster does not take it', { hint: 'configure it in the control plane’s `attestation`, or join with a token' });
  };
  return {
    attest: async (evidence, facts) => configured(evidence.method).attest(evidence, facts),
    challenge(connection) {
      configured('x509');
      return { nonce: challenges.issue(connection), lifeMs: challenges.lifeMs };
    },
    audit(method, { address }, outcome) {
      if ('verdict' in outcome) {
        const { agent, role, subject } = outcome.verdict;
        counted.inc({ method, outcome: 'admitted' });
        parts.log.info('audit', { event: 'attestation', outcome: 'admitted', method, subject, agent, role, address });
        return;
      }
      const { code, reason, subject, message } = factsOf(outcome.error);
      counted.inc({ method, outcome: reason });
      // A storm must not become a storm of records: those held back are counted each, and recorded once a second for each address.
      if (code === 'IDENTITY_RATE_LIMITED' && !storms.take(address)) return;
      parts.log.warn('audit', { event: 'attestation', outcome: 'refused', method, reason, code, ...(subject !== undefined && { subject }), detail: message, address });
    },
    async close() {
      await Promise.all([...attestors.values()].map((attestor) => attestor.close()));
    },
  };
}

function factsOf(error: unknown): { readonly code: string; readonly reason: string; readonly subject?: string; readonly message: string } {
  const message = messageOf(error);
  if (!(error instanceof IsthmusError)) return { code: 'internal', reason: 'internal', message };
  const { reason, subject } = error.facts;
  return { code: error.code, reason: typeof reason === 'string' ? reason : error.code, ...(typeof subject === 'string' && { subject }), message };
}
