import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { Writable } from 'node:stream';
import test from 'node:test';
import { LineSink } from './sink.ts';

/** A stream whose reader can be stopped, as that of a full pipe is, or gone. */
function aStream() {
  const written: string[] = [];
  const waiting: (() => void)[] = [];
  const state: { blocked: boolean; failure: Error | undefined } = { blocked: false, failure: undefined };
  const stream = new Writable({
    autoDestroy: false,
    write: (chunk: Buffer, _encoding, done) => {
      if (state.failure !== undefined) done(state.failure);
      else if (state.blocked) waiting.push(() => { written.push(chunk.toString()); done(); });
      else { written.push(chunk.toString()); done(); }
    },
  });
  return {
    stream,
    written,
    state,
    unblock: () => {
      state.blocked = false;
      for (const go of waiting.splice(0)) go();
    },
  };
}

/** Standard output into a file, as Node makes it: each write is done or fails at once, and it lives on after an error. */
function aDisk() {
  const written: string[] = [];
  const state = { isFull: false };
  const stream = Object.assign(new EventEmitter(), {
    writableLength: 0,
    destroyed: false,
    write: (line: string, done: (error?: Error) => void): boolean => {
      const error = state.isFull ? Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }) : undefined;
      if (error === undefined) written.push(line);
      else stream.emit('error', error);
      done(error);
      return true;
    },
  });
  return { stream: stream as unknown as Writable, written, state };
}

const lostLine = (lost: number): string => `lost ${lost}\n`;

test('while nobody reads, a megabyte waits and the rest is dropped; the number is told once there is room', async () => {
  const { stream, written, state, unblock } = aStream();
  const sink = new LineSink({ stream, lostLine });
  state.blocked = true;
  const line = `${'x'.repeat(1_023)}\n`;
  for (let i = 0; i < 2_000; i++) sink.write(line);
  assert.ok(stream.writableLength <= 1024 * 1024 + line.length, `${stream.writableLength} bytes wait`);
  const lost = sink.lost;
  assert.ok(lost > 900, `${lost} lost`);
  const drained = once(stream, 'drain');
  unblock();
  await drained;
  sink.write('now\n');
  await sink.close(1_000);
  assert.deepEqual(written.slice(-2), [`lost ${lost}\n`, 'now\n']);
  assert.equal(written.filter((w) => w === line).length, 2_000 - lost);
});

test('a full disk loses lines but neither throws nor ends the log, which goes on once there is room', async () => {
  const disk = aDisk();
  const sink = new LineSink({ stream: disk.stream, lostLine });
  disk.state.isFull = true;
  sink.write('a\n');
  sink.write('b\n');
  assert.deepEqual(disk.written, []);
  disk.state.isFull = false;
  sink.write('c\n');
  await sink.close(1_000);
  assert.deepEqual(disk.written, ['lost 2\n', 'c\n']);
});

test('a reader that went away ends the writing and nothing else', async () => {
  const { stream, state } = aStream();
  const sink = new LineSink({ stream, lostLine });
  state.failure = Object.assign(new Error('broken pipe'), { code: 'EPIPE' });
  sink.write('a\n');
  await once(stream, 'error').catch(() => undefined);
  sink.write('b\n');
  await sink.close(1_000);
  assert.equal(stream.writableLength, 0);
});

test('close waits for what was taken, and gives up on a stream that takes nothing', async () => {
  const { stream, written, state, unblock } = aStream();
  const sink = new LineSink({ stream, lostLine });
  state.blocked = true;
  sink.write('a\n');
  await sink.close(1);
  assert.deepEqual(written, []);
  const closing = sink.close(10_000);
  unblock();
  await closing;
  assert.deepEqual(written[0], 'a\n');
});
