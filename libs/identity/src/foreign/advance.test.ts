import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bundle } from '@isthmus/model';
import { fakeClock } from '@isthmus/runtime/testing';
import { advance, type LastGood } from './advance.ts';
import { openPoller, pollDelayMs } from './poller.ts';

const bundle = (sequence: number, ...keys: string[]): Bundle => ({ trustDomain: 'partner.example', sequence, refreshHintSeconds: 300, x509Authorities: keys });
const known = (b: Bundle, isNumbered = true): LastGood => ({ version: 1, bundle: b, isNumbered, from: 'endpoint', takenAtMs: 0, confirmedAtMs: 0 });
const heard = (b: Bundle, sequence: number | undefined = b.sequence) => ({ sequence, bundle: b });
const unnumbered = (...keys: string[]) => ({ sequence: undefined, bundle: bundle(0, ...keys) });

describe('a document against the last good bundle', () => {
  const rows: readonly { readonly name: string; readonly last: LastGood | undefined; readonly document: Parameters<typeof advance>[1]; readonly is: string }[] = [
    { name: 'the first one', last: undefined, document: heard(bundle(5, 'a')), is: 'take 5' },
    { name: 'the first one, empty but numbered', last: undefined, document: heard(bundle(5)), is: 'take 5' },
    { name: 'the first one, empty without a number', last: undefined, document: unnumbered(), is: 'empty' },
    { name: 'a higher sequence', last: known(bundle(5, 'a')), document: heard(bundle(6, 'b')), is: 'take 6' },
    { name: 'a higher sequence, everything revoked', last: known(bundle(5, 'a')), document: heard(bundle(6)), is: 'take 6' },
    { name: 'the same again', last: known(bundle(5, 'a', 'b')), document: heard(bundle(5, 'b', 'a')), is: 'same' },
    { name: 'other keys under the same sequence', last: known(bundle(5, 'a')), document: heard(bundle(5, 'b')), is: 'altered' },
    { name: 'no keys under the same sequence', last: known(bundle(5, 'a')), document: heard(bundle(5)), is: 'altered' },
    { name: 'a lower sequence', last: known(bundle(5, 'a')), document: heard(bundle(4, 'a', 'b')), is: 'older' },
    { name: 'no sequence after one', last: known(bundle(5, 'a')), document: unnumbered('b'), is: 'sequence-missing' },
    { name: 'another content where there never was a sequence', last: known(bundle(2, 'a'), false), document: unnumbered('b'), is: 'take 3' },
    { name: 'the same content where there never was a sequence', last: known(bundle(2, 'a'), false), document: unnumbered('a'), is: 'same' },
    { name: 'nothing where there never was a sequence', last: known(bundle(2, 'a'), false), document: unnumbered(), is: 'empty' },
  ];
  for (const { name, last, document, is } of rows) {
    test(`${name}: ${is}`, () => {
      const next = advance(last, document);
      assert.equal(next.kind === 'take' ? `take ${next.bundle.sequence}` : next.kind === 'same' ? 'same' : next.reason, is);
    });
  }
});

describe('polls', () => {
  test('come at the hint give or take a tenth, never under the floor nor over an hour', () => {
    assert.equal(pollDelayMs(300, 10_000, 0.5), 300_000);
    assert.equal(pollDelayMs(300, 10_000, 0), 270_000);
    assert.ok(Math.abs(pollDelayMs(300, 10_000, 1) - 330_000) < 1);
    assert.equal(pollDelayMs(1, 10_000, 0.5), 10_000);
    assert.equal(pollDelayMs(86_400, 10_000, 0.5), 3_600_000);
    assert.equal(pollDelayMs(undefined, 10_000, 0.5), 300_000);
  });

  test('that fail are made again at the next regular time, not at once', async () => {
    const clock = fakeClock();
    let polls = 0;
    const poller = openPoller({ clock, random: () => 0.5, floorMs: 10_000, hintSeconds: () => 60, poll: async () => { polls += 1; throw new Error('away'); } });
    await clock.advance(1_000);
    assert.equal(polls, 1);
    await clock.advance(59_000);
    assert.equal(polls, 1);
    await clock.advance(2_000);
    assert.equal(polls, 2);
    assert.equal(poller.status().lastError, 'away');
    poller.pollSoon();
    await clock.advance(1);
    assert.equal(polls, 3);
    await poller.close();
    await clock.advance(3_600_000);
    assert.equal(polls, 3);
  });
});
