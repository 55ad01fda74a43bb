// Lost answers are forgiven, second holders are seen: every order in which an agent and its clone may come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { advanceChain, beginChain, parseSerialChain, type SerialChain } from './serial-chain.ts';

const FACTS = { nowMs: 7, address: '10.0.0.1' };

/** Renewals one after another, each `presented>issued`; which of them show a clone. */
function run(renewals: readonly string[], begin?: { readonly chain: SerialChain | undefined }): { readonly clones: readonly string[]; readonly chain: SerialChain } {
  const clones: string[] = [];
  let chain = begin === undefined ? beginChain('A1') : begin.chain;
  for (const renewal of renewals) {
    const [presented = '', issued = ''] = renewal.split('>');
    const advanced = advanceChain(chain, presented, issued, FACTS);
    if (advanced.isClone) clones.push(renewal);
    chain = advanced.chain;
    assert.ok(parseSerialChain(chain).ok);
  }
  assert.ok(chain);
  return { clones, chain };
}

const rows: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['one holder renews again and again', ['A1>A2', 'A2>A3', 'A3>A4'], []],
  ['an answer is lost, and asked for again', ['A1>A2', 'A1>A3', 'A3>A4'], []],
  ['answers are lost three times, and the first arrives after all', ['A1>A2', 'A1>A3', 'A1>A4', 'A2>A5', 'A5>A6'], []],
  ['row 43: a clone of a running machine renews beside it', ['A1>A2', 'A1>B2', 'A2>A3', 'B2>B3'], ['B2>B3']],
  ['row 43: the clone is the first to renew twice, and the machine itself is the second holder', ['A1>B2', 'A1>A2', 'B2>B3', 'A2>A3'], ['A2>A3']],
  ['a snapshot of long ago is started beside the machine', ['A1>A2', 'A2>A3', 'A1>B2'], ['A1>B2']],
  ['both go on: the other line is seen each time', ['A1>A2', 'A2>A3', 'A1>B2', 'A3>A4', 'B2>B3', 'A4>A5', 'B3>B4'], ['A1>B2', 'B2>B3', 'B3>B4']],
  ['the parent comes back after its successor was used', ['A1>A2', 'A2>A3', 'A1>B2', 'A2>A4'], ['A1>B2']],
];
for (const [name, renewals, clones] of rows) {
  test(name, () => assert.deepEqual(run(renewals).clones, clones));
}

test('an identity from before chains were kept begins one, and admission begins anew', () => {
  assert.deepEqual(run(['C7>C8', 'C8>C9'], { chain: undefined }).clones, []);
  assert.equal(advanceChain(beginChain('D1'), 'A9', 'A10', FACTS).isClone, true, 'what was issued before the admission is over');
});

test('a clone leaves how often, when and from where, and an answer that is lost for ever fills nothing', () => {
  const { chain } = run(['A1>A2', 'A2>A3', 'A1>B2', 'A1>B3']);
  assert.deepEqual([chain.clones, chain.clonedAtMs, chain.clonedFrom], [2, 7, '10.0.0.1']);
  assert.equal(run(Array.from({ length: 100 }, (_, i) => `A1>${(i + 16).toString(16)}`)).chain.successors.length, 8);
});
