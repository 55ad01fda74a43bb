import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifySvid } from '../verify.ts';
import { CHAIN_CASES, openPki, TRUST_DOMAIN, VARIANTS } from './index.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const pkis = VARIANTS.map((variant) => ({ variant, pki: openPki(variant, NOW_MS) }));

test('the cases are more than 150, and each has a name of its own', () => {
  assert.ok(CHAIN_CASES.length > 150, String(CHAIN_CASES.length));
  assert.equal(new Set(CHAIN_CASES.map((c) => c.kind)).size, CHAIN_CASES.length);
});

for (const [at, { kind, rule, want, make }] of CHAIN_CASES.entries()) {
  test(`${rule}: ${kind}: ${want}`, () => {
    // P-256 always, the others in turn; all of them are held against the oracles in tests/interop.
    for (const { variant, pki } of pkis.filter((_, i) => i === 0 || i === 1 + (at % 3))) {
      const { chain, roots } = make(pki);
      const bundle = { trustDomain: TRUST_DOMAIN, sequence: 1, refreshHintSeconds: 300, x509Authorities: roots.map((der) => der.toString('base64')) };
      const verdict = verifySvid({ chain, bundle, nowMs: NOW_MS, skewMs: 0 });
      assert.equal(verdict.ok ? 'ok' : verdict.reason, want, `${variant}: ${verdict.ok ? 'taken' : verdict.detail}`);
    }
  });
}
