import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { FrameReader, type FrameSink } from './frame.ts';
import { frame } from './testing.ts';

/** Writes down what comes; DATA parts of one frame are joined. */
class Recorder implements FrameSink {
  readonly seen: string[] = [];
  #data: Buffer[] = [];

  frame(type: number, flags: number, id: number, input: Buffer, start: number, end: number): void {
    this.seen.push(`${type} ${flags} ${id} ${input.toString('hex', start, end)}`);
  }

  dataStart(id: number, flags: number, length: number): void {
    this.#data = [];
    this.seen.push(`data ${flags} ${id} ${length}`);
  }

  dataPart(input: Buffer, start: number, end: number): void {
    this.#data.push(input.subarray(start, end));
  }

  dataEnd(): void {
    this.seen.push(`end ${Buffer.concat(this.#data).toString('hex')}`);
  }

  badFrame(problem: string, type: number): void {
    this.seen.push(`${problem} ${type}`);
  }
}

function read(...chunks: readonly Buffer[]): string[] {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder);
  for (const chunk of chunks) reader.feed(chunk);
  return recorder.seen;
}

test('frames come out the same wherever the bytes are cut', () => {
  const type = fc.constantFrom(0, 1, 4, 8, 9, 77);
  const frames = fc.array(fc.tuple(type, fc.constantFrom(0, 1, 4, 8, 9), fc.nat(99), fc.uint8Array({ maxLength: 40 })), { maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.array(fc.nat(300), { maxLength: 10 }), (list, cuts) => {
      const whole = Buffer.concat(list.map(([t, flags, id, payload]) => frame(t, flags, id, Buffer.from(payload))));
      const places = [0, ...cuts.map((c) => Math.min(c, whole.length)).sort((a, b) => a - b), whole.length];
      assert.deepEqual(read(...places.slice(1).map((end, i) => whole.subarray(places[i], end))), read(whole));
    }),
  );
});

test('one octet at a time is enough', () => {
  const whole = Buffer.concat([frame(0, 9, 1, Buffer.concat([Buffer.from([3]), Buffer.from('hello'), Buffer.alloc(3)])), frame(6, 0, 0, Buffer.alloc(8)), frame(0, 0, 1)]);
  assert.deepEqual(read(...[...whole].map((octet) => Buffer.from([octet]))), ['data 9 1 9', `end ${Buffer.from('hello').toString('hex')}`, '6 0 0 0000000000000000', 'data 0 1 0', 'end ']);
});

test('the reserved bit of a stream identifier is not read', () => assert.deepEqual(read(frame(8, 0, 0x8000_0005, Buffer.alloc(4))), ['8 0 5 00000000']));

test('DATA is passed on without a copy, before the frame is complete', () => {
  const parts: Buffer[] = [];
  const recorder = new Recorder();
  recorder.dataPart = (input, start, end) => void parts.push(input.subarray(start, end));
  const chunk = frame(0, 0, 1, 'half', 100);
  new FrameReader(recorder).feed(chunk);
  assert.equal(parts[0]?.buffer, chunk.buffer);
  assert.equal(parts[0].toString(), 'half');
});

test('a frame over 16 KiB is refused by its head alone, and nothing behind it is read', () => {
  assert.deepEqual(read(frame(1, 4, 1, '', 16_385), frame(6, 0, 0, Buffer.alloc(8))), ['too-long 1']);
  assert.deepEqual(read(frame(0, 0, 1, '', 16_385).subarray(0, 4), frame(0, 0, 1, '', 16_385).subarray(4)), ['too-long 0']);
});

test('padding as long as its frame is refused', () => {
  assert.deepEqual(read(frame(0, 8, 1, [3, 0, 0])), ['padding 0']);
  assert.deepEqual(read(frame(0, 8, 1)), ['padding 0']);
  assert.deepEqual(read(frame(0, 8, 1, [2, 0, 0])), ['data 8 1 3', 'end ']);
});

test('a stopped reader ignores the rest of the chunk it is in', () => {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder);
  recorder.frame = () => reader.stop();
  reader.feed(Buffer.concat([frame(6, 0, 0, Buffer.alloc(8)), frame(0, 0, 1, 'late')]));
  assert.deepEqual(recorder.seen, []);
});

test('a frame that does not end can be told from many that do', () => {
  const reader = new FrameReader(new Recorder());
  const ping = frame(6, 0, 0, Buffer.alloc(8));
  assert.equal(reader.held, undefined);
  reader.feed(ping.subarray(0, 3));
  const first = reader.held;
  reader.feed(ping.subarray(3, 5));
  assert.equal(reader.held, first);
  reader.feed(Buffer.concat([ping.subarray(5), ping.subarray(0, 3)]));
  assert.notEqual(reader.held, first);
});
