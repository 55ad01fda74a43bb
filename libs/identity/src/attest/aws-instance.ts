// Attestation by an AWS instance identity document: signed by Amazon, verified without asking anybody, good once for each instance.
import { compileSchema, formatProblems, isDnsLabel, type Static, strict, Type } from '@isthmus/model';
import { verifyPkcs7 } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import { fail } from '../errors.ts';
import { type Attestor, evidenceRefused, type Verdict } from './attestor.ts';
import { certificatesOf } from './pem-files.ts';
import { mapClaims, ruleProblems, rulesSchema } from './rules.ts';

/** One set of AWS accounts whose instances may join. */
export const awsInstanceSchema = strict({
  name: Type.String({ maxLength: 63, description: 'what audit records and entries call these instances; a DNS label' }),
  certificateFiles: Type.Array(Type.String({ maxLength: 1_024 }), { minItems: 1, maxItems: 64, description: 'PEM files with Amazon’s RSA-2048 certificates of the regions; nobody else’s signature counts' }),
  maxSinceLaunchSeconds: Type.Optional(Type.Integer({ minimum: 60, description: 'refuse instances that were launched longer ago (default: any age)' })),
  rules: rulesSchema,
});
export type AwsInstances = Static<typeof awsInstanceSchema>;

/** What of the document is used; Amazon adds fields. Source: Amazon EC2 User Guide, "Instance identity documents". */
const documentSchema = Type.Object({
  accountId: Type.String({ pattern: '^[0-9]{12}$' }),
  region: Type.String({ pattern: '^[a-z0-9-]{1,32}$' }),
  instanceId: Type.String({ pattern: '^i-[0-9a-f]{8,32}$' }),
  pendingTime: Type.String({ maxLength: 40 }),
  imageId: Type.Optional(Type.Union([Type.String({ maxLength: 64 }), Type.Null()])),
});
type InstanceDocument = Static<typeof documentSchema>;
const parseDocument = compileSchema(documentSchema);
const MAX_AHEAD_MS = 300_000;

/** **Throws** IDENTITY_ATTESTATION_CONFIG. */
export function openAwsInstanceAttestor(config: readonly AwsInstances[], { clock }: { readonly clock: Clock }): Attestor<'aws-instance'> {
  const sets = config.map((one, i) => {
    const place = `attestation.awsInstance[${i}]`;
    const problems = [...(isDnsLabel(one.name) ? [] : [`${place}.name: is no DNS label`]), ...ruleProblems(one.rules, place)];
    if (problems.length > 0) throw fail('IDENTITY_ATTESTATION_CONFIG', problems.join('; '));
    return { config: one, pinned: certificatesOf(one.certificateFiles, place) };
  });
  return {
    method: 'aws-instance',
    async attest({ pkcs7 }) {
      const nowMs = clock.nowMs();
      const verdicts = sets.map(({ config: one, pinned }) => ({ config: one, verdict: verifyPkcs7({ document: pkcs7, pinned, nowMs }) }));
      const found = verdicts.find(({ verdict }) => verdict.ok) ?? verdicts[0];
      if (found === undefined) throw evidenceRefused('aws-instance', 'not-configured', 'no instances are configured');
      const { verdict, config: chosen } = found;
      if (!verdict.ok) throw evidenceRefused('aws-instance', verdict.reason, verdict.detail);
      return granted(chosen, readDocument(verdict.content), nowMs);
    },
    close: () => Promise.resolve(),
  };
}

function readDocument(content: Buffer): InstanceDocument & Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(content.toString('utf8'));
  } catch {
    throw evidenceRefused('aws-instance', 'malformed', 'the signed content is not JSON');
  }
  const read = parseDocument(json);
  if (!read.ok) throw evidenceRefused('aws-instance', 'malformed', `the document is no instance’s: ${formatProblems(read.problems)}`);
  return read.value;
}

function granted(config: AwsInstances, document: ReturnType<typeof readDocument>, nowMs: number): Verdict {
  const { accountId, region, instanceId, pendingTime } = document;
  const subject = `${config.name} ${accountId}/${region}/${instanceId}`;
  const launchedMs = Date.parse(pendingTime);
  const refused = (reason: 'malformed' | 'not-yet-valid' | 'expired', text: string) => evidenceRefused('aws-instance', reason, text, { subject });
  if (Number.isNaN(launchedMs)) throw refused('malformed', 'its pendingTime is no time');
  if (launchedMs > nowMs + MAX_AHEAD_MS) throw refused('not-yet-valid', `it was launched at ${pendingTime}, which is in the future`);
  const { maxSinceLaunchSeconds } = config;
  if (maxSinceLaunchSeconds !== undefined && nowMs - launchedMs > maxSinceLaunchSeconds * 1_000) {
    throw refused('expired', `it was launched at ${pendingTime}, longer ago than ${maxSinceLaunchSeconds} s`);
  }
  const mapped = mapClaims(config.rules, document);
  if (!mapped.ok) throw evidenceRefused('aws-instance', mapped.reason, mapped.detail, { subject, hint: 'the rules in the control plane’s attestation.awsInstance decide' });
  const { agent } = mapped.grant;
  // The document never changes and anybody who once read it has it, so the first who shows it is the instance (trust on first use).
  const key = keys.attestedInstance(instanceId);
  return {
    ...mapped.grant,
    method: 'aws-instance',
    subject,
    canReattest: false,
    once: { compare: [{ key, exists: false }], then: [{ put: { key, value: JSON.stringify({ agent, subject, atMs: nowMs }) } }] },
    refusal: evidenceRefused('aws-instance', 'known-instance', `${instanceId} joined before, and a document is good once`, {
      subject,
      hint: `if it is the same machine and lost its identity: \`isthmus agent readmit ${agent}\``,
    }),
  };
}
