// One request after another out of a connection's bytes: what is read when, what waits, and when the stream is held back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { lentRoom } from '../transport/lent.ts';
import { RequestReader, type RequestTaker } from './request-reader.ts';

/** A connection that notes what it is told, and takes bodies while `takes`. */
class Notes implements RequestTaker {
  readonly told: string[] = [];
  readonly stream = { destroyed: false, isPaused: false, pause: () => void (this.stream.isPaused = true), resume: () => void (this.stream.isPaused = false) };
  readonly reader = new RequestReader(this.stream as unknown as ConstructorParameters<typeof RequestReader>[0], this, HTTP_LIMITS, 'http');
  takes = true;
  #body = '';

  get bodyTaker(): { data(chunk: Buffer): void } | undefined {
    return this.takes ? { data: (chunk) => void (this.#body += chunk.toString('latin1')) } : undefined;
  }

  /** What was told since the last call, body included. */
  heard(): string[] {
    const heard = [...this.told.splice(0), ...(this.#body === '' ? [] : [`body ${this.#body}`])];
    this.#body = '';
    return heard;
  }

  headBegan(): void {
    this.told.push('head began');
  }

  began({ head }: Parameters<RequestTaker['began']>[0]): void {
    this.told.push(`${head.method} ${head.target}`);
  }

  bodyEnded(trailers: readonly string[] | undefined): void {
    this.told.push(`end ${trailers?.join() ?? ''}`);
  }

  refused({ code }: { readonly code: string }): void {
    this.told.push(`refused ${code}`);
    this.reader.stop();
  }

  read(text: string): string[] {
    this.reader.read(Buffer.from(text, 'latin1'));
    return this.heard();
  }

  next(): string[] {
    this.reader.next();
    this.reader.goOn();
    return this.heard();
  }
}

const GET = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;
const POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';
const CHUNKED = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';

test('RFC 9112 §9.3.2: the next request is read when its turn comes, and the stream waits until then', () => {
  const notes = new Notes();
  assert.deepEqual(notes.read(GET('/1') + GET('/2') + GET('/3')), ['GET /1']);
  assert.equal(notes.stream.isPaused, true);
  assert.deepEqual(notes.next(), ['GET /2']);
  assert.deepEqual(notes.next(), ['GET /3']);
  assert.deepEqual(notes.next(), []);
  assert.deepEqual([notes.stream.isPaused, notes.reader.isBetween], [false, true]);
});

test('a head in pieces is told of once, when it has begun, and the first one’s time has begun before', () => {
  const notes = new Notes();
  assert.deepEqual(notes.read(GET('/1').slice(0, 9)), []);
  assert.equal(notes.reader.isInHead, true);
  assert.deepEqual(notes.read(GET('/1').slice(9)), ['GET /1']);
  notes.next();
  assert.deepEqual(notes.read('GET'), ['head began']);
  assert.deepEqual(notes.read(' /2 HTTP/1.1\r\nHo'), []);
  assert.deepEqual(notes.read('st: a\r\n\r\n'), ['GET /2']);
});

test('a body waits for its taker, and nothing of it is lost', () => {
  const notes = new Notes();
  notes.takes = false;
  assert.deepEqual(notes.read(`${POST}he`), ['POST /']);
  assert.equal(notes.stream.isPaused, true);
  assert.deepEqual(notes.read(`llo${GET('/2')}`), []);
  notes.takes = true;
  notes.reader.goOn();
  assert.deepEqual(notes.heard(), ['end ', 'body hello']);
  assert.deepEqual(notes.next(), ['GET /2']);
});

test('bytes that are only lent are kept where they must wait', () => {
  const notes = new Notes();
  const lent = lentRoom();
  const count = lent.write(`${GET('/1')}${GET('/2')}`, 'latin1');
  notes.reader.read(lent.subarray(0, count));
  lent.fill(0, 0, count);
  assert.deepEqual([notes.heard(), notes.next()], [['GET /1'], ['GET /2']]);
});

test('a body’s taker may pause and resume the stream, nobody else may by it', () => {
  const notes = new Notes();
  notes.read(`${POST}h`);
  notes.reader.pauseBody();
  assert.equal(notes.stream.isPaused, true);
  notes.reader.resumeBody();
  assert.equal(notes.stream.isPaused, false);
  notes.read('ello');
  notes.reader.pauseBody();
  assert.equal(notes.stream.isPaused, false, 'the body is over');
});

test('RFC 9112 §7.1.2: trailers come with the end of a chunked body', () => {
  const notes = new Notes();
  assert.deepEqual(notes.read(`${CHUNKED}2\r\nhi\r\n0\r\nA: b\r\n\r\n`), ['POST /', 'end a,b', 'body hi']);
});

test('after a switch of protocols all bytes are the taker’s, once there is one', () => {
  const notes = new Notes();
  notes.read(GET('/'));
  notes.takes = false;
  notes.reader.switch();
  assert.deepEqual(notes.read('GET '), []);
  notes.takes = true;
  notes.reader.goOn();
  assert.deepEqual(notes.heard(), ['body GET ']);
  assert.deepEqual(notes.read('more'), ['body more']);
});

test('what is refused in a head or in a body ends the reading', () => {
  const notes = new Notes();
  assert.deepEqual(notes.read(`GET / HTTP/1.1\n${GET('/2')}`), ['refused bare-line-feed']);
  assert.equal(notes.reader.isStopped, true);
  const other = new Notes();
  assert.deepEqual(other.read(`${CHUNKED}x`), ['POST /', 'refused bad-chunk-size']);
});
