import assert from 'node:assert/strict';
import test from 'node:test';
import { Field, isFieldValue, KIND, kindOf } from './field.ts';

test('a name with an upper-case letter, a space or a colon inside is no name of HTTP/2', () => {
  for (const name of ['Host', 'content-Type', 'a b', 'a:b', '', 'a\u0000', 'a\u00ff', 'na\rme']) assert.equal(kindOf(name), KIND.invalid, JSON.stringify(name));
  for (const name of ['host-x', 'x_y', '!#$%&\'*+-.^_`|~', '0']) assert.equal(kindOf(name), KIND.regular, name);
});

test('names with a meaning of their own are told from the others', () => {
  assert.equal(kindOf(':path'), KIND.path);
  assert.equal(kindOf(':other'), KIND.unknownPseudo);
  for (const name of ['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']) assert.equal(kindOf(name), KIND.connection);
});

for (const [name, good, bad] of [
  [':method', ['GET', 'M-SEARCH', 'get'], ['', 'G T', 'GET\r', 'G(T']],
  [':path', ['/', '/a?b=c%20d', '*'], ['', '/a b', '/a#b', '/a\u0001', '/\u00e9', '/\r\n']],
  [':scheme', ['http', 'https'], ['ftp', 'HTTP', '']],
  [':authority', ['a.b:80', '[::1]:80', ''], ['u@a', 'a/b', 'a b', 'a\n']],
  [':status', ['200', '599', '100'], ['20', '2000', '099', 'abc', '+20']],
  ['content-length', ['0', '123'], ['', '-1', '+1', '1.0', '0x1', '1 ', '1234567890123456']],
  ['te', ['trailers'], ['gzip', 'trailers, gzip']],
  ['x', ['', 'a b', 'a\tb', '\u00e9'], [' a', 'a ', '\ta', 'a\r\nb', 'a\u0000b', 'a\u007f', 'a\u0001']],
] as const) {
  test(`${name} takes what it may hold and nothing else`, () => {
    for (const value of good) assert.equal(new Field(name, value, kindOf(name)).isValid, true, JSON.stringify(value));
    for (const value of bad) assert.equal(new Field(name, value, kindOf(name)).isValid, false, JSON.stringify(value));
  });
}

test('a field counts 32 octets more than it has', () => assert.equal(new Field('ab', 'cde', KIND.regular).sizeBytes, 37));

test('a value of one character is looked at from both ends', () => {
  assert.equal(isFieldValue(' '), false);
  assert.equal(isFieldValue('x'), true);
});
