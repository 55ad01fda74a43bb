import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatProblems } from '../problem.ts';
import { parseExport } from './export.ts';
import { parseFederatedTrustDomain } from './federated-trust-domain.ts';

const declared = (source: object, trustDomain = 'partner.example'): object => ({ kind: 'federated-trust-domain', trustDomain, source });
const spiffe = { profile: 'https_spiffe', url: 'https://bundles.partner.example/', spiffeId: 'spiffe://partner.example/spire/server' };

test('a foreign trust domain is declared by either profile, or by file', () => {
  for (const source of [spiffe, { profile: 'https_web', url: 'https://partner.example/bundle.json' }, { profile: 'file' }]) assert.ok(parseFederatedTrustDomain(declared(source)).ok);
});

const refused: readonly { readonly name: string; readonly input: object; readonly why: RegExp }[] = [
  { name: 'plain http', input: declared({ ...spiffe, url: 'http://partner.example/' }), why: /source/ },
  { name: 'an address that is none', input: declared({ ...spiffe, url: 'https://' }), why: /source.url/ },
  { name: 'a password in the address', input: declared({ ...spiffe, url: 'https://a:b@partner.example/' }), why: /user or password/ },
  { name: 'an endpoint of another trust domain', input: declared({ ...spiffe, spiffeId: 'spiffe://other.example/spire/server' }), why: /is not of partner.example/ },
  { name: 'an endpoint that is a trust domain', input: declared({ ...spiffe, spiffeId: 'spiffe://partner.example' }), why: /names a trust domain/ },
  { name: 'https_spiffe without an ID', input: declared({ profile: 'https_spiffe', url: 'https://partner.example/' }), why: /source/ },
  { name: 'a trust domain in upper case', input: declared({ profile: 'file' }, 'Partner.example'), why: /trustDomain/ },
  { name: 'a trust domain with a slash', input: declared({ profile: 'file' }, 'partner/../x'), why: /trustDomain/ },
  { name: 'an unknown field', input: { ...declared({ profile: 'file' }), insecure: true }, why: /insecure/ },
];
for (const { name, input, why } of refused) {
  test(`a declaration with ${name} is refused`, () => {
    const parsed = parseFederatedTrustDomain(input);
    assert.ok(!parsed.ok);
    assert.match(formatProblems(parsed.problems), why);
  });
}

test('an export names foreign callers by trust domain and ID, each ID of its own trust domain', () => {
  const exported = (foreignCallers: unknown): object => ({ kind: 'export', namespace: 'shop', name: 'payments', consumers: 'all', foreignCallers });
  assert.ok(parseExport(exported([{ trustDomain: 'partner.example' }, { trustDomain: 'third.example', spiffeIds: ['spiffe://third.example/a'] }])).ok);
  for (const [callers, why] of [
    [[{ trustDomain: 'partner.example', spiffeIds: ['spiffe://other.example/a'] }], /foreignCallers\[0\].spiffeIds\[0\]: is not of partner.example/],
    [[{ trustDomain: 'partner.example', spiffeIds: ['partner.example/a'] }], /no SPIFFE ID/],
    [[{ trustDomain: 'partner.example', spiffeIds: [] }], /spiffeIds/],
    [[{ trustDomain: '*' }], /trustDomain/],
  ] as const) {
    const parsed = parseExport(exported(callers));
    assert.ok(!parsed.ok);
    assert.match(formatProblems(parsed.problems), why);
  }
});
