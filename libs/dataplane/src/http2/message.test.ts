import assert from 'node:assert/strict';
import test from 'node:test';
import { HpackDecoder } from './hpack/decoder.ts';
import { Field, kindOf } from './hpack/field.ts';
import { HpackEncoder } from './hpack/encoder.ts';
import { encodedBound, encodeRequest, encodeResponse, MessageFields } from './message.ts';

function collect(list: readonly string[]): MessageFields {
  const fields = new MessageFields();
  for (let i = 0; i + 1 < list.length; i += 2) fields.field(new Field(list[i]!, list[i + 1]!, kindOf(list[i]!)));
  return fields;
}

const GET = [':method', 'GET', ':scheme', 'http', ':path', '/x', ':authority', 'example.com'];
const request = (list: readonly string[], isEnd = true) => {
  const fields = collect(list);
  return { head: fields.request('https', isEnd), problem: fields.problem };
};

test('a request keeps its fields in order, and its scheme is the connection’s', () => {
  assert.deepEqual(request([...GET, 'b', '2', 'a', '1', 'b', '3']).head, {
    method: 'GET', target: '/x', authority: 'example.com', scheme: 'https', headers: ['b', '2', 'a', '1', 'b', '3'], bodyBytes: 0, expectsContinue: false,
  });
});

test('what is framing becomes what it means: content-length, expect, te, host, crumbs of cookies', () => {
  const { head } = request([':method', 'POST', ':scheme', 'http', ':path', '/', 'host', 'h', 'cookie', 'a=1', 'content-length', '12', 'te', 'trailers', 'expect', '100-Continue', 'cookie', 'b=2'], false);
  assert.deepEqual(head, { method: 'POST', target: '/', authority: 'h', scheme: 'https', headers: ['cookie', 'a=1; b=2'], bodyBytes: 12, expectsContinue: true });
});

test('a body of unknown length has no length, and one that never comes has 0', () => {
  assert.equal(request(GET, false).head?.bodyBytes, undefined);
  assert.equal(request(GET, true).head?.bodyBytes, 0);
});

test('extended CONNECT is an upgrade, plain CONNECT names its authority', () => {
  const head = request([':method', 'CONNECT', ':protocol', 'websocket', ':scheme', 'http', ':path', '/chat', ':authority', 'h'], false).head;
  assert.deepEqual([head?.method, head?.upgrade, head?.target], ['GET', 'websocket', '/chat']);
  assert.equal(request([':method', 'CONNECT', ':authority', 'h:1'], false).head?.target, 'h:1');
});

// RFC 9113 §8.1 to §8.3: each is malformed.
for (const [name, list] of [
  ['no :method', [':scheme', 'http', ':path', '/', ':authority', 'a']],
  ['no :scheme', [':method', 'GET', ':path', '/', ':authority', 'a']],
  ['no :path', [':method', 'GET', ':scheme', 'http', ':authority', 'a']],
  ['an empty :path', [':method', 'GET', ':scheme', 'http', ':path', '', ':authority', 'a']],
  ['a :path without a slash', [':method', 'GET', ':scheme', 'http', ':path', 'x', ':authority', 'a']],
  ['an absolute :path', [':method', 'GET', ':scheme', 'http', ':path', 'http://a/', ':authority', 'a']],
  ['* with GET', [':method', 'GET', ':scheme', 'http', ':path', '*', ':authority', 'a']],
  ['neither :authority nor host', [':method', 'GET', ':scheme', 'http', ':path', '/']],
  ['an empty :authority', [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', '']],
  ['user information in :authority', [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'u@a']],
  ['a host that is not :authority', [...GET, 'host', 'other.example.com']],
  ['host twice', [...GET, 'host', 'example.com', 'host', 'example.com']],
  ['a pseudo-header twice', [':path', '/y', ...GET]],
  ['a pseudo-header behind a field', [':method', 'GET', ':scheme', 'http', 'x', 'y', ':path', '/', ':authority', 'a']],
  ['a pseudo-header nobody knows', [...GET, ':other', 'x']],
  [':status', [...GET, ':status', '200']],
  [':protocol without CONNECT', [...GET, ':protocol', 'websocket']],
  ['CONNECT with a path', [':method', 'CONNECT', ':path', '/', ':authority', 'a']],
  ['connection', [...GET, 'connection', 'close']],
  ['transfer-encoding', [...GET, 'transfer-encoding', 'chunked']],
  ['upgrade', [...GET, 'upgrade', 'h2c']],
  ['keep-alive', [...GET, 'keep-alive', '1']],
  ['proxy-connection', [...GET, 'proxy-connection', 'x']],
  ['te with anything but trailers', [...GET, 'te', 'gzip']],
  ['an upper-case name', [...GET, 'X-A', 'b']],
  ['a line break in a value', [...GET, 'x', 'a\r\nb: c']],
  ['a space behind a value', [...GET, 'x', 'a ']],
  ['content-length twice', [...GET, 'content-length', '0', 'content-length', '0']],
  ['a content-length with a sign', [...GET, 'content-length', '+1']],
  ['a content-length without a body', [...GET, 'content-length', '1']],
] as const) {
  test(`a request is malformed with ${name}`, () => {
    const { head, problem } = request(list);
    assert.equal(head, undefined);
    assert.equal(typeof problem, 'string');
  });
}

test('a response says its status and its length', () => {
  assert.deepEqual(collect([':status', '200', 'content-length', '5', 'a', 'b']).response(false, false), { status: 200, headers: ['a', 'b'], bodyBytes: 5 });
  assert.equal(collect([':status', '200']).response(true, false)?.bodyBytes, 0);
  assert.equal(collect([':status', '200', 'content-length', '5']).response(true, true)?.bodyBytes, 5);
  assert.equal(collect([':status', '304', 'content-length', '5']).response(true, false)?.bodyBytes, 5);
});

for (const [name, list, isEnd] of [
  ['no :status', ['a', 'b'], true],
  [':status of two digits', [':status', '20'], true],
  ['101', [':status', '101'], false],
  ['an informational end', [':status', '103'], true],
  [':path', [':status', '200', ':path', '/'], true],
  [':status twice', [':status', '200', ':status', '200'], true],
  ['content-length without a body', [':status', '200', 'content-length', '5'], true],
  ['connection', [':status', '200', 'connection', 'close'], true],
] as const) {
  test(`a response is malformed with ${name}`, () => assert.equal(collect(list).response(isEnd, false), undefined));
}

test('trailers have no pseudo-header', () => {
  assert.deepEqual(collect(['grpc-status', '0']).trailers(), ['grpc-status', '0']);
  assert.equal(collect([':status', '200']).trailers(), undefined);
  assert.equal(collect([':method', 'GET']).trailers(), undefined);
  assert.equal(collect(['a', 'b\n']).trailers(), undefined);
});

function decoded(write: (output: Buffer) => number): string[] {
  const output = Buffer.alloc(65_536);
  const end = write(output);
  const list: string[] = [];
  new HpackDecoder({ tableBytes: 4096, headerBytes: 65_536, headerCount: 200 }).decode(output, 0, end, { field: (f) => void list.push(f.name, f.value) });
  return list;
}

test('a request says what its head says: length, trailers for gRPC, expectation', () => {
  const head = { method: 'POST', target: '/s/m', authority: 'a', scheme: 'http', headers: ['content-type', 'application/grpc+proto'], bodyBytes: 7, expectsContinue: true } as const;
  assert.deepEqual(decoded((out) => encodeRequest(new HpackEncoder(), head, false, out, 0)), [
    ':method', 'POST', ':scheme', 'http', ':path', '/s/m', ':authority', 'a', 'content-type', 'application/grpc+proto', 'te', 'trailers', 'expect', '100-continue', 'content-length', '7',
  ]);
  const ended = decoded((out) => encodeRequest(new HpackEncoder(), { ...head, method: 'GET', headers: [], bodyBytes: 0 }, true, out, 0));
  assert.deepEqual(ended, [':method', 'GET', ':scheme', 'http', ':path', '/s/m', ':authority', 'a']);
});

test('an upgrade goes out as extended CONNECT', () => {
  const head = { method: 'GET', target: '/chat', authority: 'a', scheme: 'https', headers: [], bodyBytes: undefined, upgrade: 'websocket', expectsContinue: false } as const;
  assert.deepEqual(decoded((out) => encodeRequest(new HpackEncoder(), head, false, out, 0)), [':method', 'CONNECT', ':scheme', 'https', ':path', '/chat', ':authority', 'a', ':protocol', 'websocket']);
});

test('a response tells a length when a body comes, or when the body is another request’s', () => {
  const encode = (bodyBytes: number | undefined, endsNow: boolean) => decoded((out) => encodeResponse(new HpackEncoder(), { status: 200, headers: [], bodyBytes }, endsNow, out, 0));
  assert.deepEqual(encode(5, false), [':status', '200', 'content-length', '5']);
  assert.deepEqual(encode(0, false), [':status', '200', 'content-length', '0']);
  assert.deepEqual(encode(0, true), [':status', '200']);
  assert.deepEqual(encode(5, true), [':status', '200', 'content-length', '5']);
  assert.deepEqual(encode(undefined, false), [':status', '200']);
});

test('the bound holds with every field at its longest', () => {
  const long = 'x'.repeat(9000);
  const head = { method: 'POST', target: `/${long}`, authority: long, scheme: 'https', headers: Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? `n${i}` : long)), bodyBytes: 999_999_999_999, upgrade: 'websocket', expectsContinue: true } as const;
  const bound = encodedBound(head.headers, head.method.length + head.target.length + head.authority.length + head.upgrade.length);
  const output = Buffer.alloc(bound * 2);
  assert.ok(encodeRequest(new HpackEncoder(), head, false, output, 0) <= bound);
});
