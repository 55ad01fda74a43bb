// The lines kept for who asks: how many, how large, and from which level on.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { openLog } from './log.ts';
import { RecentLines } from './recent.ts';

test('what is kept is bounded in lines and in size, and the oldest goes first', () => {
  const recent = new RecentLines();
  for (let i = 0; i < 5_000; i += 1) recent.add({ level: 'info', line: String(i) });
  const kept = recent.last(10_000, 'debug');
  assert.deepEqual([kept.length, kept[0]?.line, kept.at(-1)?.line], [2_000, '3000', '4999']);
  for (let i = 0; i < 8; i += 1) recent.add({ level: 'info', line: 'x'.repeat(300_000) });
  assert.ok(recent.last(10_000, 'debug').reduce((sum, { line }) => sum + line.length, 0) <= 1024 * 1024);
});

test('lines are chosen by how grave they are, and later ones are told as they come', () => {
  const recent = new RecentLines();
  const told: string[] = [];
  for (const level of ['error', 'warn', 'info', 'debug'] as const) recent.add({ level, line: level });
  const stop = recent.onLine(({ line }) => told.push(line));
  recent.add({ level: 'warn', line: 'later' });
  stop();
  recent.add({ level: 'warn', line: 'after' });
  assert.deepEqual(recent.last(10, 'warn').map(({ line }) => line), ['error', 'warn', 'later', 'after']);
  assert.deepEqual(recent.last(1, 'error').map(({ line }) => line), ['error']);
  assert.deepEqual(recent.last(0, 'debug'), []);
  assert.deepEqual(told, ['later']);
});

test('a log keeps what it wrote as JSON in either form, without what it blanks', () => {
  for (const format of ['json', 'text'] as const) {
    const log = openLog({ program: 'p', level: 'info', format, stream: new PassThrough().resume() });
    log.debug('not written');
    log.info('hello', { n: 7, pem: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----' });
    const [line, ...others] = log.recent.last(10, 'debug').map((kept) => JSON.parse(kept.line) as Record<string, unknown>);
    assert.deepEqual([line?.['msg'], line?.['n'], line?.['program'], line?.['level'], others.length], ['hello', 7, 'p', 'info', 0]);
    assert.doesNotMatch(JSON.stringify(line), /AAAA/);
  }
});
