import assert from 'node:assert/strict';
import test from 'node:test';
import { formatProblems, valueOf } from './problem.ts';
import { compileSchema, schemas, strict, Type } from './schema.ts';

const parse = compileSchema(
  strict({
    name: schemas.dnsLabel,
    port: schemas.port,
    kind: Type.Union([Type.Literal('http'), Type.Literal('tcp')]),
    consumers: Type.Optional(Type.Union([Type.Literal('all'), Type.Array(Type.String())])),
    nested: Type.Optional(Type.Array(strict({ weight: Type.Integer({ minimum: 1 }) }))),
  }),
);

function problemsOf(input: unknown): string {
  const answer = parse(input);
  return answer.ok ? '' : formatProblems(answer.problems);
}

test('what fits is handed on as it is', () => {
  const input = { name: 'a', port: 80, kind: 'http' };
  const answer = parse(input);
  assert.equal(answer.ok && answer.value, input);
});

test('every problem is named with its path', () => {
  const text = problemsOf({ name: 'Bad', port: 0, kind: 'udp', nested: [{ weight: 1 }, { weight: 0 }] });
  assert.match(text, /name: must be a DNS label/);
  assert.match(text, /port: must be >= 1/);
  assert.match(text, /kind: must be "http" or "tcp"/);
  assert.match(text, /nested\[1\]\.weight: must be >= 1/);
});

test('more than eight problems are all named, and never more than twenty', () => {
  const many = compileSchema(Type.Array(Type.Integer()));
  const count = (n: number): number => {
    const answer = many(Array(n).fill('x'));
    return answer.ok ? 0 : answer.problems.length;
  };
  assert.equal(count(15), 15);
  assert.equal(count(5_000), 20);
});

test('unknown and missing fields are named once each, at their parent', () => {
  assert.equal(problemsOf({ name: 'a', port: 1, kind: 'tcp', colour: 'red' }), 'unknown field "colour"');
  assert.equal(problemsOf({ name: 'a', port: 1, kind: 'tcp', nested: [{ weight: 1, wieght: 2 }] }), 'nested[0]: unknown field "wieght"');
  assert.match(problemsOf({ name: 'a', kind: 'tcp' }), /port/);
});

test('a value that fits none of several forms is told all of them in one sentence', () => {
  assert.equal(problemsOf({ name: 'a', port: 1, kind: 'tcp', consumers: 3 }), 'consumers: must be string or "all" or array');
});

test('a schema that is not strict lets unknown fields through, for messages of another version', () => {
  assert.ok(compileSchema(Type.Object({ a: Type.Integer() }))({ a: 1, b: 2 }).ok);
});

test('what is no object at all is refused, not thrown at', () => {
  for (const input of [undefined, null, 1, 'x', [], () => undefined]) assert.ok(!parse(input).ok);
});

test('host:port takes names, IPv4 and bracketed IPv6, and nothing else', () => {
  const hostPort = compileSchema(schemas.hostPort);
  for (const good of ['a:1', 'gw.example:15443', '10.0.0.1:443', '[::1]:80', '[2001:db8::1]:443']) assert.ok(hostPort(good).ok, good);
  for (const bad of ['a', ':1', 'a:', 'a:123456', '::1:80', 'a b:1', 'a:1\n', 'http://a:1']) assert.ok(!hostPort(bad).ok, bad);
});

test('an answer that must be good throws what is wrong with it', () => {
  assert.equal(valueOf({ ok: true, value: 7 }), 7);
  assert.throws(() => valueOf(parse({ name: 'a', port: 'x', kind: 'tcp' })), { code: 'MODEL_INVALID', message: 'port: must be integer' });
});
