// The response to each request out of a connection's bytes: which heads count, what body follows, and what may not come.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { ResponseReader, type ResponseTaker } from './response-reader.ts';

/** A connection that notes what it is told. */
class Notes implements ResponseTaker {
  readonly reader = new ResponseReader(this, HTTP_LIMITS);
  readonly bodyTaker = { data: (chunk: Buffer): void => void this.#told.push(`body ${chunk.toString('latin1')}`) };
  hasAsked = true;
  #told: string[] = [];

  headBegan(): void {
    this.#told.push('head began');
  }

  isAnswer(): boolean {
    if (!this.hasAsked) this.reader.stop();
    return this.hasAsked;
  }

  informed({ status }: { readonly status: number }): void {
    this.#told.push(`informed ${status}`);
  }

  switched(): void {
    this.#told.push('switched');
  }

  responded({ head }: Parameters<ResponseTaker['responded']>[0], endsNow: boolean, more: boolean): void {
    this.#told.push(`${head.status}${endsNow ? ' end' : ''}${more ? ' more' : ''}`);
  }

  bodyEnded(trailers: readonly string[] | undefined, more: boolean): void {
    this.#told.push(`end ${trailers?.join() ?? ''}${more ? ' more' : ''}`);
  }

  broken(detail: string): void {
    this.#told.push(`broken: ${detail}`);
    this.reader.stop();
  }

  /** What is told of `text`, read after a request of `method`. */
  answer(text: string, method = 'GET', upgrade?: string): string[] {
    this.reader.begin(method, upgrade);
    return this.read(text);
  }

  read(text: string): string[] {
    this.reader.read(Buffer.from(text, 'latin1'));
    return this.#told.splice(0);
  }
}

const head = (status: number, ...fields: readonly string[]): string => `HTTP/1.1 ${status} X\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;
const SWITCHED = head(101, 'Connection: upgrade', 'Upgrade: websocket');

const WHOLE: readonly (readonly [name: string, text: string, told: readonly string[], method?: string])[] = [
  ['§6.3: a body of a known length', `${head(200, 'Content-Length: 2')}ok`, ['200', 'body ok', 'end ']],
  ['§6.3: a body of no length', head(200, 'Content-Length: 0'), ['200 end']],
  ['§6.3: a chunked body', `${head(200, 'Transfer-Encoding: chunked')}1\r\na\r\n0\r\nA: b\r\n\r\n`, ['200', 'body a', 'end a,b']],
  ['§6.3: none after HEAD, whatever its length', head(200, 'Content-Length: 9'), ['200 end'], 'HEAD'],
  ['§6.3: none with 304, whatever its length', head(304, 'Content-Length: 9'), ['304 end']],
  ['§6.3: none with 204', head(204), ['204 end']],
  ['§15.2: interim heads before the final one', head(100) + head(103) + head(204), ['informed 100', 'informed 103', '204 end']],
];
for (const [name, text, told, method] of WHOLE) {
  test(`RFC 9112 ${name}: the response is whole`, () => {
    const notes = new Notes();
    assert.deepEqual(notes.answer(text, method), told);
    assert.equal(notes.reader.isDone, true);
    assert.deepEqual(notes.answer(head(204)), ['204 end'], 'and the next one is read');
  });

  test(`RFC 9112 ${name}: the same, octet by octet`, () => {
    const notes = new Notes();
    notes.reader.begin(method ?? 'GET', undefined);
    const heard = [...text].flatMap((octet) => notes.read(octet)).filter((each) => each !== 'head began');
    assert.deepEqual(heard.join().replaceAll(/(?<=body \w),body /g, ''), told.join());
  });

  test(`RFC 9112 ${name}: bytes behind it are seen`, () => {
    const heard = new Notes().answer(`${text}HTTP`, method);
    assert.equal(heard.at(-1), 'broken: bytes after the response');
    assert.match(heard.at(-2) ?? '', / more$/);
  });
}

test('RFC 9112 §6.3: a body without a length ends with the connection', () => {
  const notes = new Notes();
  assert.deepEqual(notes.answer(`${head(200)}all`), ['200', 'body all']);
  assert.deepEqual([notes.reader.isUntilClose, notes.reader.canPause], [true, true]);
  notes.reader.endOfStream();
  assert.deepEqual(notes.read(''), ['end ']);
});

test('bytes that nobody asked for break the connection', () => {
  assert.deepEqual(new Notes().read(head(204)), ['broken: bytes after the response']);
});

test('a head that comes before anything was asked is no answer', () => {
  const notes = new Notes();
  notes.hasAsked = false;
  assert.deepEqual(notes.answer(head(204)), []);
  assert.equal(notes.reader.isStopped, true);
});

test('a head in pieces is told of when it begins, an interim one and the final one each', () => {
  const notes = new Notes();
  assert.deepEqual(notes.answer('HTTP/1.1 1'), ['head began']);
  assert.equal(notes.reader.isInHead, true);
  assert.deepEqual(notes.read(`00 X\r\n`), []);
  assert.deepEqual(notes.read(`\r\nHTTP`), ['informed 100', 'head began']);
  assert.deepEqual(notes.read('/1.1 204 X\r\n\r\n'), ['204 end']);
  assert.equal(notes.reader.isInHead, false);
});

test('interim heads without end break the connection (reliability 62)', () => {
  const told = new Notes().answer(head(103).repeat(40));
  assert.deepEqual([told.length, told.at(-1)], [33, 'broken: too many interim responses']);
});

test('RFC 9110 §7.8: a switch of protocols that was asked for makes all bytes its taker’s', () => {
  const notes = new Notes();
  assert.deepEqual(notes.answer(`${SWITCHED}raw`, 'GET', 'websocket'), ['switched', 'body raw']);
  assert.deepEqual([notes.reader.isRaw, notes.read('HTTP')], [true, ['body HTTP']]);
});

for (const asked of [undefined, 'h2c']) {
  test(`RFC 9110 §7.8: a switch of protocols is refused to one who asked for ${asked ?? 'none'}`, () => {
    for (const text of [SWITCHED, head(101)]) assert.deepEqual(new Notes().answer(text, 'GET', asked), ['broken: a switch of protocols that was not asked for']);
  });
}

test('what is malformed breaks the connection: a head, and a chunk', () => {
  assert.match(new Notes().answer('HTTP/2 200\r\n\r\n').join(), /^broken: the status line/);
  assert.match(new Notes().answer(`${head(200, 'Transfer-Encoding: chunked')}x`).join(), /^200,broken: a chunk size/);
});
