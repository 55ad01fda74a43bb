import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseOptions } from './options.ts';

const NAMES = ['l4-connect', 'l4-bulk', 'http2'];

test('without flags everything runs, five rounds, beside every peer', () => {
  const options = parseOptions([], NAMES);
  assert.deepEqual(options.only, NAMES);
  assert.equal(options.rounds, 5);
  assert.deepEqual(options.peers, ['nginx', 'haproxy', 'envoy']);
  assert.equal(options.action, 'run');
});

test('--only takes names and beginnings, and keeps the order of the workloads', () => {
  assert.deepEqual(parseOptions(['--only', 'http2, l4-*'], NAMES).only, NAMES);
  assert.deepEqual(parseOptions(['--only', 'l4-b*'], NAMES).only, ['l4-bulk']);
});

test('--quick means one round unless another number is given', () => {
  assert.equal(parseOptions(['--quick'], NAMES).rounds, 1);
  assert.equal(parseOptions(['--quick', '--rounds', '3'], NAMES).rounds, 3);
});

const WRONG: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['a workload that is not there', ['--only', 'l5'], /no workload l5; there are l4-connect/],
  ['a beginning that nothing has', ['--only', 'x*'], /no workload x\*/],
  ['rounds that are no number', ['--rounds', 'many'], /--rounds takes a whole number/],
  ['no rounds', ['--rounds', '0'], /--rounds takes a whole number/],
  ['half a round', ['--rounds', '1.5'], /--rounds takes a whole number/],
  ['a peer nobody knows', ['--peers', 'apache'], /no peer apache/],
  ['an engine nobody built', ['--engine', 'bsd'], /linux or portable, not bsd/],
  ['a flag that is not there', ['--fast'], /--fast/],
];
for (const [what, args, says] of WRONG) test(`refused: ${what}`, () => assert.throws(() => parseOptions(args, NAMES), says));
