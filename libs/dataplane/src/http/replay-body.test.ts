// Bodies that can be sent again.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { ReplayBody } from './replay-body.ts';

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

test('a second attempt gets the body from its start', async () => {
  const source = new PassThrough();
  const body = new ReplayBody(source, 1_024);
  const first = body.open();
  source.write('one ');
  await once(first, 'readable');
  const second = body.open();
  source.end('two');
  assert.equal(await textOf(second), 'one two');
  assert.equal(body.replayable, true);
  assert.equal(first.destroyed, true);
});

test('a body that has ended can be sent again', async () => {
  const source = new PassThrough();
  const body = new ReplayBody(source, 1_024);
  source.end('all');
  assert.equal(await textOf(body.open()), 'all');
  assert.equal(await textOf(body.open()), 'all');
});

test('the first chunk passes on before the end is there', async () => {
  const source = new PassThrough();
  const first = new ReplayBody(source, 1_024).open();
  source.write('early');
  await once(first, 'readable');
  assert.equal(String(first.read()), 'early');
});

test('past the limit it streams on whole, and is no longer replayable', async () => {
  const source = new PassThrough();
  const body = new ReplayBody(source, 10);
  const text = textOf(body.open());
  source.write('12345678');
  source.write('90abc');
  source.end('def');
  assert.equal(await text, '1234567890abcdef');
  assert.equal(body.replayable, false);
});

test('a slow attempt pauses the source', async () => {
  const source = new PassThrough({ highWaterMark: 1_024 });
  const body = new ReplayBody(source, 16);
  const slow = body.open();
  slow.read(0);
  let accepted = 0;
  while (accepted < 10_000 && source.write(Buffer.alloc(1_024))) {
    accepted += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(accepted < 1_000, `${accepted} KiB were taken in though nobody reads`);
});

test('a caller that goes away in the middle breaks the attempt', async () => {
  const source = new PassThrough();
  const attempt = new ReplayBody(source, 1_024).open();
  source.write('half');
  attempt.resume();
  const failed = once(attempt, 'error').catch((error: unknown) => [error]);
  source.destroy();
  const [error] = (await failed) as [Error];
  assert.match(error.message, /went away/);
});
