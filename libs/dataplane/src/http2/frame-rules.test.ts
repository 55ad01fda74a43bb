// What a frame must be by itself: each type on a stream or on none, and of its length.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameBreach } from './frame-rules.ts';
import { ERROR, FLAG, FRAME } from './protocol.ts';

const P = ERROR.protocol;
const S = ERROR.frameSize;

const CASES: readonly (readonly [section: string, name: string, type: number, flags: number, id: number, length: number, code: number | undefined])[] = [
  ['6.2', 'HEADERS on a stream', FRAME.headers, 0, 1, 0, undefined],
  ['6.2', 'HEADERS on stream 0', FRAME.headers, 0, 0, 9, P],
  ['6.3', 'PRIORITY on stream 0', FRAME.priority, 0, 0, 5, P],
  ['6.3', 'PRIORITY of a wrong length, which is its stream’s error', FRAME.priority, 0, 1, 4, undefined],
  ['6.4', 'RST_STREAM of four octets', FRAME.rstStream, 0, 1, 4, undefined],
  ['6.4', 'RST_STREAM on stream 0', FRAME.rstStream, 0, 0, 4, P],
  ['6.4', 'RST_STREAM of five octets', FRAME.rstStream, 0, 1, 5, S],
  ['6.5', 'SETTINGS that set nothing', FRAME.settings, 0, 0, 0, undefined],
  ['6.5', 'SETTINGS of twelve octets', FRAME.settings, 0, 0, 12, undefined],
  ['6.5', 'SETTINGS of seven octets', FRAME.settings, 0, 0, 7, S],
  ['6.5', 'SETTINGS on a stream', FRAME.settings, 0, 1, 0, P],
  ['6.5', 'an acknowledgement', FRAME.settings, FLAG.ack, 0, 0, undefined],
  ['6.5', 'an acknowledgement with a setting', FRAME.settings, FLAG.ack, 0, 6, S],
  ['6.6', 'PUSH_PROMISE', FRAME.pushPromise, 0, 1, 10, P],
  ['6.7', 'PING of eight octets', FRAME.ping, 0, 0, 8, undefined],
  ['6.7', 'PING of nine octets', FRAME.ping, 0, 0, 9, S],
  ['6.7', 'PING on a stream', FRAME.ping, 0, 1, 8, P],
  ['6.8', 'GOAWAY of eight octets', FRAME.goaway, 0, 0, 8, undefined],
  ['6.8', 'GOAWAY with a reason', FRAME.goaway, 0, 0, 80, undefined],
  ['6.8', 'GOAWAY of seven octets', FRAME.goaway, 0, 0, 7, S],
  ['6.8', 'GOAWAY on a stream', FRAME.goaway, 0, 1, 8, P],
  ['6.9', 'WINDOW_UPDATE of the connection', FRAME.windowUpdate, 0, 0, 4, undefined],
  ['6.9', 'WINDOW_UPDATE of a stream', FRAME.windowUpdate, 0, 1, 4, undefined],
  ['6.9', 'WINDOW_UPDATE of three octets', FRAME.windowUpdate, 0, 1, 3, S],
  ['5.5', 'a frame of a type that nobody knows', 0xee, 0xff, 0, 1, undefined],
];
for (const [section, name, type, flags, id, length, code] of CASES) {
  test(`${section}: ${name} is ${code === undefined ? 'fine' : code === P ? 'a protocol error' : 'a frame size error'}`, () => {
    assert.equal(frameBreach(type, flags, id, length)?.code, code);
  });
}
