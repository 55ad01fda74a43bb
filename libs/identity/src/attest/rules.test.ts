// Rules over the claims that platforms really make; and the examples of the documentation, which must mean what they say.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compileSchema, formatProblems } from '@isthmus/model';
import { parseYaml } from '@isthmus/runtime';
import { proxyAttestationSchema } from '../proxy/attestation-config.ts';
import { type AttestationConfig, attestationSchema } from './attestation.ts';
import { type Claims, mapClaims, type Rule, ruleProblems, valueAt } from './rules.ts';

const PAGE = readFileSync(new URL('../../../../docs/operating/attestation.md', import.meta.url), 'utf8');

/** The YAML blocks of the page that have this text. */
function examplesWith(mark: string): unknown[] {
  return [...PAGE.matchAll(/```yaml\n([\s\S]*?)```/g)].flatMap(([, text = '']) => {
    if (!text.includes(mark)) return [];
    const read = parseYaml(text, 'attestation.md');
    assert.ok(read.ok, text);
    return read.value.map((document) => (document.value as { readonly attestation: unknown }).attestation);
  });
}

const examples = examplesWith('rules:').map((example) => {
  const read = compileSchema(attestationSchema)(example);
  assert.ok(read.ok, read.ok ? '' : formatProblems(read.problems));
  return read.value;
});
const rulesOf = (name: string): readonly Rule[] => {
  const all = examples.flatMap((example: AttestationConfig) => [...(example.jwt ?? []), ...(example.awsInstance ?? []), ...(example.x509 ?? [])]);
  return all.find((one) => one.name === name)?.rules ?? assert.fail(`no example ${name}`);
};

const KUBERNETES: Claims = {
  aud: ['isthmus://east'],
  sub: 'system:serviceaccount:shop:payments',
  'kubernetes.io': { namespace: 'shop', pod: { name: 'payments-7d9f', uid: 'u' }, serviceaccount: { name: 'payments', uid: 'u' }, node: { name: 'n' } },
};
const GCP: Claims = { email: 'payments@acme-prod.iam.gserviceaccount.com', google: { compute_engine: { project_id: 'acme-prod', instance_id: '4271', zone: 'europe-west1-b' } } };
const AZURE: Claims = { xms_mirid: '/subscriptions/6666/resourcegroups/prod/providers/Microsoft.Compute/virtualMachines/vm-1' };

const rows: readonly (readonly [string, Claims, string, readonly string[]])[] = [
  ['k8s-east', KUBERNETES, 'payments-7d9f', ['shop/payments']],
  ['eks', KUBERNETES, 'payments-7d9f', ['shop/payments']],
  ['gcp', GCP, 'gce-4271', ['shop/payments']],
  ['azure', AZURE, `az-${createHash('sha256').update(String(AZURE['xms_mirid'])).digest('hex').slice(0, 16)}`, ['shop/payments']],
  ['prod', { accountId: '123456789012', region: 'eu-west-1', instanceId: 'i-0123456789abcdef0' }, 'ec2-i-0123456789abcdef0', ['shop/payments']],
  ['company', { subject: { O: 'Acme', CN: 'vm-7' }, dns: ['x.acme.example', 'vm-7.acme.example'] }, 'vm-7', ['shop/payments']],
];
for (const [name, claims, agent, services] of rows) {
  test(`the example ${name} gives its holder a name and services`, () => {
    const mapped = mapClaims(rulesOf(name), claims);
    assert.ok(mapped.ok, mapped.ok ? '' : mapped.detail);
    assert.deepEqual([mapped.grant.agent, mapped.grant.services], [agent, services]);
  });
}

test('the agent’s example is a configuration', () => {
  const [example] = examplesWith('jwtFile');
  const read = compileSchema(proxyAttestationSchema)({ ...(example as object), rootSha256: ['a'.repeat(64)] });
  assert.ok(read.ok, read.ok ? '' : formatProblems(read.problems));
});

test('a rule matches whole values and beginnings only, and all of its claims', () => {
  const rule = (match: Rule['match']): readonly Rule[] => [{ match, agent: 'a' }];
  const isTaken = (match: Rule['match'], claims: Claims): boolean => mapClaims(rule(match), claims).ok;
  assert.equal(isTaken({ sub: 'a' }, { sub: 'a' }), true);
  for (const sub of ['A', 'aa', ' a', 'a ', '', undefined, null, {}, ['b'], [['a']]]) assert.equal(isTaken({ sub: 'a' }, { sub }), false, JSON.stringify(sub));
  assert.equal(isTaken({ sub: '.*' }, { sub: 'anything' }), false, 'no patterns');
  assert.equal(isTaken({ groups: 'b' }, { groups: ['a', 'b'] }), true);
  assert.equal(isTaken({ n: '7', yes: 'true' }, { n: 7, yes: true }), true);
  assert.equal(isTaken({ sub: 'a', aud: 'b' }, { sub: 'a' }), false);
  assert.equal(isTaken({ constructor: { prefix: 'f' }, toString: 'x' } as Rule['match'], {}), false, 'nothing that every object has');
  assert.equal(isTaken({ repo: { prefix: 'acme/' } }, { repo: 'acme-evil/x' }), false);
});

test('pointers go into objects by whole names, with their escapes', () => {
  assert.equal(valueAt({ 'a/b': { 'c~d': 1 } }, '/a~1b/c~0d'), 1);
  assert.equal(valueAt({ a: { b: 1 } }, 'a/b'), undefined);
  for (const at of ['/a/b/c', '/__proto__/x', '/a/0', '/']) assert.equal(valueAt({ a: ['x'] }, at), undefined, at);
});

test('a name is never bent into shape', () => {
  const named = (agent: string, claims: Claims) => mapClaims([{ match: { ok: 'y' }, agent }], { ok: 'y', ...claims });
  for (const value of ['A', 'a.b', 'a/b', '', 'ä', 'a'.repeat(64), '{ok}']) {
    const mapped = named('x-{v}', { v: value });
    assert.equal(mapped.ok ? 'taken' : mapped.reason, 'bad-name', value);
  }
  assert.equal(named('{v|hash}', { v: 'A.B/ä' }).ok, true);
  assert.equal(named('-{v}', { v: 'a' }).ok, false);
  assert.deepEqual(ruleProblems([{ match: { a: 'b' }, agent: 'x-{y' }, { match: { a: 'b' }, agent: '{y|hash}' }], 'p').length, 1);
  const gateway = mapClaims([{ match: { ok: 'y' }, agent: 'g', role: 'gateway', services: ['a/b'] }], { ok: 'y' });
  assert.equal(gateway.ok, false);
});
