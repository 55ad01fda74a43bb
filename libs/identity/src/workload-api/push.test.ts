import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { FIRST_ANSWER_MS, push, type Sink } from './push.ts';

/** A stream whose reader takes one answer and then none until `drain`. */
function setUp(make: () => { readonly answer: string; readonly isWhole: boolean } | undefined) {
  const clock = fakeClock();
  const sent: string[] = [];
  const errors: Error[] = [];
  const handlers = new Map<string, () => void>();
  let changed = (): void => undefined;
  let ends = 0;
  const state = {
    clock,
    sent,
    errors,
    isFast: true,
    ends: () => ends,
    emit: (event: string) => handlers.get(event)?.(),
    change: async () => {
      changed();
      await Promise.resolve();
    },
    followers: 0,
    end: (): void => undefined,
  };
  const sink: Sink<string> = {
    write: (answer) => (sent.push(answer), state.isFast),
    emit: (_event, error) => errors.push(error) > 0,
    on: (event, fn) => handlers.set(event, fn),
  };
  const source = {
    onChange: (fn: () => void) => {
      changed = fn;
      state.followers += 1;
      return () => {
        state.followers -= 1;
      };
    },
  };
  state.end = push(sink, { make, follow: [source], encode: (text) => Buffer.from(text) }, { clock, onSent: () => undefined, onEnd: () => (ends += 1) }).end;
  return state;
}

test('a slow reader gets the newest and nothing in between', async () => {
  let now = 'a';
  const stream = setUp(() => ({ answer: now, isWhole: true }));
  stream.isFast = false;
  for (now of ['b', 'c', 'd']) await stream.change();
  stream.emit('drain');
  assert.deepEqual(stream.sent, ['a', 'b', 'd']);
});

test('the same answer is not sent twice', async () => {
  const stream = setUp(() => ({ answer: 'a', isWhole: true }));
  await stream.change();
  assert.deepEqual(stream.sent, ['a']);
});

test('a first answer waits until it is whole, and goes in part once it waited long enough', async () => {
  let now = { answer: 'half', isWhole: false };
  const stream = setUp(() => now);
  await stream.change();
  assert.deepEqual(stream.sent, []);
  await stream.clock.advance(FIRST_ANSWER_MS);
  assert.deepEqual(stream.sent, ['half']);
  now = { answer: 'whole', isWhole: true };
  await stream.change();
  assert.deepEqual(stream.sent, ['half', 'whole']);
});

test('with nothing to say for too long the caller is told to come again, and the stream leaves nothing', async () => {
  const stream = setUp(() => undefined);
  await stream.clock.advance(FIRST_ANSWER_MS);
  assert.match(stream.errors[0]?.message ?? '', /no identity yet/);
  assert.deepEqual([stream.ends(), stream.followers, stream.clock.pending()], [1, 0, 0]);
});

test('a caller that leaves is told nothing more, and is left once', async () => {
  let now = 'a';
  const stream = setUp(() => ({ answer: now, isWhole: true }));
  stream.emit('cancelled');
  stream.emit('close');
  now = 'b';
  await stream.change();
  stream.end();
  assert.deepEqual([stream.sent, stream.errors, stream.ends(), stream.followers, stream.clock.pending()], [['a'], [], 1, 0, 0]);
});
