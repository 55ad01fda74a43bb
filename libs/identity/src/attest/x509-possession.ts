// Attestation by a certificate of a configured CA, whose key signs this control plane's challenge for this signing request.
import { isDnsLabel, type Static, strict, type TrustDomain, Type } from '@isthmus/model';
import { type ClientNames, verifyClientChain, verifyPossession } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { type Attestor, evidenceRefused, type Verdict } from './attestor.ts';
import type { Challenges } from './challenges.ts';
import { certificatesOf } from './pem-files.ts';
import { mapClaims, ruleProblems, rulesSchema } from './rules.ts';

/** One CA whose certificates let machines in. */
export const x509Schema = strict({
  name: Type.String({ maxLength: 63, description: 'what audit records and entries call this CA; a DNS label' }),
  caFiles: Type.Array(Type.String({ maxLength: 1_024 }), { minItems: 1, maxItems: 16, description: 'PEM files with the CA’s certificates' }),
  rules: rulesSchema,
});
export type X509Ca = Static<typeof x509Schema>;

/** **Throws** IDENTITY_ATTESTATION_CONFIG. */
export function openX509Attestor(config: readonly X509Ca[], parts: { readonly challenges: Challenges; readonly trustDomain: TrustDomain; readonly clock: Clock }): Attestor<'x509'> {
  const { challenges, trustDomain, clock } = parts;
  const cas = config.map((one, i) => {
    const place = `attestation.x509[${i}]`;
    const problems = [...(isDnsLabel(one.name) ? [] : [`${place}.name: is no DNS label`]), ...ruleProblems(one.rules, place)];
    if (problems.length > 0) throw fail('IDENTITY_ATTESTATION_CONFIG', problems.join('; '));
    return { config: one, anchors: certificatesOf(one.caFiles, place) };
  });
  return {
    method: 'x509',
    async attest({ chain, nonce, signature }, { connection, csrSha256 }) {
      if (!challenges.take(connection, nonce)) throw evidenceRefused('x509', 'challenge', 'it answers no challenge that this connection was given in the last 30 s');
      const verdicts = cas.map(({ config: one, anchors }) => ({ config: one, verdict: verifyClientChain({ chain, anchors, nowMs: clock.nowMs() }) }));
      const found = verdicts.find(({ verdict }) => verdict.ok) ?? verdicts[0];
      if (found === undefined) throw evidenceRefused('x509', 'not-configured', 'no CA is configured');
      const { verdict, config: chosen } = found;
      if (!verdict.ok) throw evidenceRefused('x509', verdict.reason, verdict.detail);
      if (!verifyPossession(verdict.certificate.publicKey, { trustDomain, nonce, csrSha256 }, signature)) {
        throw evidenceRefused('x509', 'bad-signature', 'the challenge is not signed by the certificate’s key for this signing request');
      }
      return granted(chosen, verdict.names);
    },
    close: () => Promise.resolve(),
  };
}

function granted(config: X509Ca, names: ClientNames): Verdict {
  const subject = `${config.name} ${nameOf(names)}`.slice(0, 512);
  const mapped = mapClaims(config.rules, names);
  if (!mapped.ok) throw evidenceRefused('x509', mapped.reason, mapped.detail, { subject, hint: 'the rules in the control plane’s attestation.x509 decide' });
  return {
    ...mapped.grant,
    method: 'x509',
    subject,
    canReattest: true,
    // The nonce was single use already, and no other control plane knows it.
    once: { compare: [], then: [] },
    refusal: evidenceRefused('x509', 'replayed', 'another attested as this agent at the same moment', { subject, hint: 'try again' }),
  };
}

/** The name that stays when a certificate is renewed: its subject, or its first alternative name where that is empty. */
function nameOf({ subject, uri, dns, email, fingerprint }: ClientNames): string {
  const attributes = Object.entries(subject).map(([type, value]) => `${type}=${typeof value === 'string' ? value : value.join('+')}`);
  return attributes.length > 0 ? attributes.join(',') : (uri[0] ?? dns[0] ?? email[0] ?? fingerprint);
}
