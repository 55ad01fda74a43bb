// Responses that clients have read in different ways, and what this codec makes of each: data for the client's tests.

/** One case: what an origin sends to one request. */
export type ResponseCase = {
  readonly name: string;
  /** The request's method; GET if not given. */
  readonly method?: string;
  /** Latin-1. */
  readonly bytes: string;
  /** The origin ends the connection behind the bytes. */
  readonly closes?: true;
  /** `STATUS body` of a response taken for whole. */
  readonly response?: string;
  /** The connection may serve another request afterwards. */
  readonly reusable?: true;
  /** Why the exchange was given up instead. */
  readonly abort?: 'protocol' | 'closed';
  /** Statuses of the interim responses before it. */
  readonly informs?: readonly number[];
};

type More = Omit<ResponseCase, 'name' | 'bytes' | 'response' | 'abort'>;

function ok(name: string, bytes: string, response: string, more: More = { reusable: true }): ResponseCase {
  return { name, bytes, response, ...more };
}

function no(name: string, bytes: string, more: More = {}): ResponseCase {
  return { name, bytes, abort: 'protocol', ...more };
}

function cut(name: string, bytes: string, more: More = {}): ResponseCase {
  return { name, bytes, abort: 'closed', closes: true, ...more };
}

function head(fields: string, status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\n${fields}\r\n`;
}

const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const SECOND = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';

/** All cases. */
export const RESPONSE_CASES: readonly ResponseCase[] = [
  ok('a body of a known length', head('Content-Length: 5\r\n') + 'hello', '200 hello'),
  ok('no body', head('Content-Length: 0\r\n'), '200 '),
  ok('a chunked body', head(CHUNKED) + '5\r\nhello\r\n0\r\n\r\n', '200 hello'),
  ok('a chunked body with trailers', head(CHUNKED) + '5\r\nhello\r\n0\r\nX: y\r\n\r\n', '200 hello'),
  ok('no reason phrase', 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok', '200 ok'),
  ok('an empty reason phrase', 'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok', '200 ok'),
  ok('a reason phrase with obs-text', 'HTTP/1.1 200 d\xe9j\xe0 vu\r\nContent-Length: 2\r\n\r\nok', '200 ok'),
  ok('a status nobody knows', head('Content-Length: 2\r\n', '299 Odd') + 'ok', '299 ok'),
  ok('204 ends with its head', head('', '204 No Content'), '204 '),
  ok('304 ends with its head, whatever length it tells', head('Content-Length: 500\r\n', '304 Not Modified'), '304 '),
  ok('the response to HEAD ends with its head', head('Content-Length: 500\r\n'), '200 ', { method: 'HEAD', reusable: true }),
  ok('the response to HEAD, chunked', head(CHUNKED), '200 ', { method: 'HEAD', reusable: true }),
  ok('the response to HEAD without a length', head(''), '200 ', { method: 'HEAD', reusable: true }),
  ok('a body that ends with the connection', head('') + 'hello', '200 hello', { closes: true }),
  ok('an old server', 'HTTP/1.0 200 OK\r\n\r\nhello', '200 hello', { closes: true }),
  ok('an old server with a length', 'HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello', '200 hello', {}),
  ok('an old server that keeps the connection', 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello', '200 hello'),
  ok('a server that will close', head('Connection: close\r\nContent-Length: 5\r\n') + 'hello', '200 hello', {}),
  ok('close among other options', head('Connection: x-a, Close\r\nContent-Length: 5\r\n') + 'hello', '200 hello', {}),
  ok('100 before the response', head('', '100 Continue') + head('Content-Length: 2\r\n') + 'ok', '200 ok', { reusable: true, informs: [100] }),
  ok('103 and 102 before the response', head('Link: </a>\r\n', '103 Early Hints') + head('', '102 Processing') + head('Content-Length: 2\r\n') + 'ok', '200 ok', { reusable: true, informs: [103, 102] }),

  ok('bytes behind the response', head('Content-Length: 2\r\n') + 'okX', '200 ok', {}),
  ok('a second response behind the first', head('Content-Length: 2\r\n') + 'ok' + SECOND, '200 ok', {}),
  ok('a second response behind an empty one', head('Content-Length: 0\r\n') + SECOND, '200 ', {}),
  ok('a second response behind a chunked one', head(CHUNKED) + '2\r\nok\r\n0\r\n\r\n' + SECOND, '200 ok', {}),
  ok('a body behind 204', head('', '204 No Content') + 'evil', '204 ', {}),
  ok('a body behind 304', head('Content-Length: 4\r\n', '304 Not Modified') + 'evil', '304 ', {}),
  ok('a body behind the response to HEAD', head('Content-Length: 4\r\n') + 'evil', '200 ', { method: 'HEAD' }),
  ok('an empty line behind the response', head('Content-Length: 2\r\n') + 'ok\r\n', '200 ok', {}),

  no('both framings', head(`Content-Length: 5\r\n${CHUNKED}`) + '5\r\nhello\r\n0\r\n\r\n'),
  no('two lengths', head('Content-Length: 5\r\nContent-Length: 6\r\n') + 'hello'),
  no('the same length twice', head('Content-Length: 5\r\nContent-Length: 5\r\n') + 'hello'),
  no('a list of lengths', head('Content-Length: 5, 5\r\n') + 'hello'),
  no('a length with a plus', head('Content-Length: +5\r\n') + 'hello'),
  no('a hexadecimal length', head('Content-Length: 0x5\r\n') + 'hello'),
  no('a negative length', head('Content-Length: -5\r\n') + 'hello'),
  no('an empty length', head('Content-Length:\r\n') + 'hello'),
  no('a length beyond 64 bits', head('Content-Length: 18446744073709551621\r\n') + 'hello'),
  no('a coding nobody knows', head('Transfer-Encoding: gzip\r\n') + 'hello'),
  no('chunked, then another coding', head('Transfer-Encoding: chunked, gzip\r\n') + '5\r\nhello\r\n0\r\n\r\n'),
  no('chunked twice', head(`${CHUNKED}${CHUNKED}`) + '5\r\nhello\r\n0\r\n\r\n'),
  no('chunked from an old server', `HTTP/1.0 200 OK\r\n${CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n`),
  no('a length with 204', head('Content-Length: 4\r\n', '204 No Content') + 'evil'),
  no('a coding with 204', head(CHUNKED, '204 No Content') + '0\r\n\r\n'),
  no('a length with 100', head('Content-Length: 4\r\n', '100 Continue') + 'evil' + head('Content-Length: 0\r\n')),
  no('a coding with 103', head(CHUNKED, '103 Early Hints') + '0\r\n\r\n'),
  no('101 that nobody asked for', head('Connection: upgrade\r\nUpgrade: websocket\r\n', '101 Switching Protocols')),
  no('more interim responses than anyone needs', head('', '102 Processing').repeat(100) + head('Content-Length: 0\r\n'), { informs: Array.from({ length: 32 }, () => 102) }),
  no('HTTP/0.9', 'hello, this is a body\r\n\r\n'),
  no('HTTP/2.0', 'HTTP/2.0 200 OK\r\n\r\n'),
  no('HTTP/1.2', 'HTTP/1.2 200 OK\r\n\r\n'),
  no('a lower-case version', 'http/1.1 200 OK\r\n\r\n'),
  no('another protocol', 'ICY 200 OK\r\n\r\n'),
  no('two spaces before the status', 'HTTP/1.1  200 OK\r\n\r\n'),
  no('a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'),
  no('a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'),
  no('a status that is no number', 'HTTP/1.1 2x0 OK\r\n\r\n'),
  no('status 099', 'HTTP/1.1 099 Low\r\n\r\n'),
  no('status 600', 'HTTP/1.1 600 High\r\n\r\n'),
  no('a signed status', 'HTTP/1.1 +20 OK\r\n\r\n'),
  no('a tab before the reason', 'HTTP/1.1 200\tOK\r\n\r\n'),
  no('an empty line before the response', '\r\n' + head('Content-Length: 0\r\n')),
  no('bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'),
  no('a bare LF behind a field', 'HTTP/1.1 200 OK\r\nContent-Length: 0\nX: y\r\n\r\n'),
  no('a bare CR in a value', head('X: a\rContent-Length: 0\r\n')),
  no('a folded field', head('X: a\r\n b\r\nContent-Length: 0\r\n')),
  no('a space before the colon', head('Content-Length : 0\r\n')),
  no('NUL in a value', head('X: \x00\r\nContent-Length: 0\r\n')),
  no('NUL in the reason phrase', 'HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n'),
  no('a line without a colon', head('abc\r\nContent-Length: 0\r\n')),
  no('a head too large', head(`X: ${'y'.repeat(70_000)}\r\n`)),
  no('a start line without an end', `HTTP/1.1 200 ${'y'.repeat(70_000)}`),
  no('too many fields', head('X: y\r\n'.repeat(300))),
  no('a bad chunk size', head(CHUNKED) + '0x5\r\nhello\r\n0\r\n\r\n'),
  no('a chunk size with a space', head(CHUNKED) + '5 \r\nhello\r\n0\r\n\r\n'),
  no('a chunk longer than its size', head(CHUNKED) + '4\r\nhello\r\n0\r\n\r\n'),
  no('a bare LF in the chunks', head(CHUNKED) + '5\nhello\r\n0\r\n\r\n'),
  no('a length in the trailers', head(CHUNKED) + '0\r\nContent-Length: 4\r\n\r\n'),

  cut('no response at all', ''),
  cut('half a head', 'HTTP/1.1 200 OK\r\nContent-'),
  cut('an interim response and no more', head('', '100 Continue'), { informs: [100] }),
  cut('less body than its length', head('Content-Length: 10\r\n') + 'hello'),
  cut('a chunked body without its end', head(CHUNKED) + '5\r\nhello\r\n'),
  cut('a chunked body cut in a chunk', head(CHUNKED) + '5\r\nhel'),
  cut('a chunked body cut in the last line', head(CHUNKED) + '5\r\nhello\r\n0\r\n'),
  cut('a chunked body cut in the trailers', head(CHUNKED) + '5\r\nhello\r\n0\r\nX: y\r\n'),
];
