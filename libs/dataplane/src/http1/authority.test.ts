// Authorities: which text names one host, and what a target in absolute form says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { absoluteForm, isAuthority } from './authority.ts';

for (const text of ['a', 'a.example', 'a.example:80', '10.0.0.1:65535', '[::1]', '[::ffff:10.0.0.1]:443', 'a-b_c~d.', 'a:']) {
  test(`RFC 9110 §7.2: ${text} is a host, with a port or without`, () => assert.equal(isAuthority(text), true));
}

for (const text of ['', ':80', 'a b', 'a,b', 'user@a', 'a:80:80', 'a:8o', 'a:123456', 'a/b', '%61', 'ä', '[::1', '[]', '[1]', '[g::]', '[::1]x', 'a\0']) {
  test(`RFC 9110 §7.2: ${JSON.stringify(text)} is no host`, () => {
    assert.equal(isAuthority('a.example'), true, 'what was looked at before says nothing of the next');
    assert.equal(isAuthority(text), false);
  });
}

test('RFC 9112 §3.2.2: a target in absolute form is an authority and a path', () => {
  assert.deepEqual(absoluteForm('http://a:80/x?y', 'GET'), { authority: 'a:80', target: '/x?y' });
  assert.deepEqual(absoluteForm('HTTPS://a?y', 'GET'), { authority: 'a', target: '/?y' });
  assert.deepEqual(absoluteForm('http://a', 'GET'), { authority: 'a', target: '/' });
  assert.deepEqual(absoluteForm('http://a', 'OPTIONS'), { authority: 'a', target: '*' });
});

for (const text of ['a:80', 'ftp://a/', 'http:///x', 'http://user@a/', 'http:a', '']) {
  test(`RFC 9112 §3.2.2: ${JSON.stringify(text)} is no target in absolute form`, () => assert.equal(absoluteForm(text, 'GET'), undefined));
}
