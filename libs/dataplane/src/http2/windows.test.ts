// Flow-control windows: what may be sent, what may come, and when it is paid back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_WINDOW_BYTES } from './protocol.ts';
import { Windows } from './windows.ts';

test('6.9.1: a window may grow to 2^31-1 and not beyond', () => {
  const windows = new Windows(65_535, 100);
  assert.equal(windows.grow(MAX_WINDOW_BYTES - 65_535), true);
  assert.equal(windows.sendBytes, MAX_WINDOW_BYTES);
  assert.equal(windows.grow(1), false);
});

test('6.9.2: a window that the peer shrinks below what was sent is negative until as much is given again', () => {
  const windows = new Windows(100, 100);
  windows.spend(80);
  assert.equal(windows.grow(-50), true);
  assert.equal(windows.sendBytes, -30);
  windows.grow(31);
  assert.equal(windows.sendBytes, 1);
});

test('6.9.1: the peer may send all that it was given and not a byte more', () => {
  const windows = new Windows(0, 100);
  assert.equal(windows.receive(99), true);
  assert.equal(windows.receive(1), true);
  assert.equal(windows.receive(1), false);
});

test('6.9: what was taken is paid back in one update once it is half of the window', () => {
  const windows = new Windows(0, 100);
  windows.receive(90);
  assert.equal(windows.payBack(49), 0);
  assert.equal(windows.receiveBytes, 10);
  assert.equal(windows.payBack(1), 50);
  assert.equal(windows.receiveBytes, 60);
  assert.equal(windows.payBack(40), 0, 'what was paid does not count twice');
});
