// Our verdict over chains, good and bad, held against `openssl verify` and Go's crypto/x509; where they differ, it is said why.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { verifySvid } from '@isthmus/pki';
import { CHAIN_CASES, openPki, TRUST_DOMAIN, VARIANTS } from '@isthmus/pki/testing';
import { findProgram } from '@isthmus/harness';
import { DIFFERENCES } from './chain-oracles/differences.ts';
import { askGo, askOpenssl, type Chain } from './chain-oracles/oracles.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const LIMIT = { timeout: 600_000 };

/** Each case with P-256 keys and with one other kind, in turn. */
const corpus = ((): readonly (Chain & { readonly kind: string; readonly variant: string; readonly isTaken: boolean })[] => {
  const pkis = VARIANTS.map((variant) => ({ variant, pki: openPki(variant, NOW_MS) }));
  return CHAIN_CASES.flatMap(({ kind, make }, at) =>
    pkis
      .filter((_, i) => i === 0 || i === 1 + (at % 3))
      .map(({ variant, pki }) => {
        const { chain, roots } = make(pki);
        const bundle = { trustDomain: TRUST_DOMAIN, sequence: 1, refreshHintSeconds: 300, x509Authorities: roots.map((der) => der.toString('base64')) };
        return { kind, variant, chain, roots, nowMs: NOW_MS, isTaken: verifySvid({ chain, bundle, nowMs: NOW_MS, skewMs: 0 }).ok };
      }),
  );
})();

/** Every case that is judged otherwise and not listed, and every listed one that is not. */
function surprises(oracle: 'openssl' | 'go', answers: readonly string[]): readonly string[] {
  assert.equal(answers.length, corpus.length, `${oracle} answered for each chain`);
  const listed = new Set(DIFFERENCES.filter((d) => d.oracles.includes(oracle)).flatMap((d) => d.kinds));
  return corpus.flatMap(({ kind, variant, isTaken }, at) => {
    const answer = answers[at] ?? '';
    const differs = (answer === 'ok') !== isTaken;
    if (differs === listed.has(kind)) return [];
    const ours = isTaken ? 'taken' : 'refused';
    return [differs ? `not listed: ${kind} (${variant}): ${ours} by us, ${oracle} says ${answer}` : `listed, but alike: ${kind} (${variant}): ${ours} by both, ${oracle} says ${answer}`];
  });
}

test('the corpus holds more than 300 chains, of which at least 80 are good and 200 are not', () => {
  const good = corpus.filter((c) => c.isTaken).length;
  assert.ok(corpus.length > 300 && good >= 80 && corpus.length - good >= 200, `${good} of ${corpus.length} are good`);
});

test('each difference that is listed is of a case there is, and listed once for an oracle', () => {
  const kinds = new Set(CHAIN_CASES.map((c) => c.kind));
  for (const oracle of ['openssl', 'go'] as const) {
    const listed = DIFFERENCES.filter((d) => d.oracles.includes(oracle)).flatMap((d) => d.kinds);
    assert.deepEqual(listed.filter((kind, at) => !kinds.has(kind) || listed.indexOf(kind) !== at), []);
  }
});

/** The table is of what these versions do: older ones let more pass. */
function skipUnless(program: string, pack: string, version: readonly string[], pattern: RegExp, oldest: number): string | false {
  const path = findProgram(program);
  if (path === undefined) return `${program} is not installed (apt-get install ${pack})`;
  const told = spawnSync(path, version, { encoding: 'utf8' }).stdout;
  return Number(pattern.exec(told)?.[1] ?? 0) >= oldest ? false : `needs ${program} of a later version: ${told.trim()}`;
}

test('openssl judges every chain as we do, but for the differences listed', { ...LIMIT, skip: skipUnless('openssl', 'openssl', ['version'], /OpenSSL (\d+)\./, 3) }, async () => {
  assert.deepEqual(surprises('openssl', await askOpenssl(corpus)), []);
});

test('Go judges every chain as we do, but for the differences listed', { ...LIMIT, skip: skipUnless('go', 'golang-go', ['version'], /go1\.(\d+)/, 24) }, async () => {
  assert.deepEqual(surprises('go', await askGo(corpus)), []);
});
