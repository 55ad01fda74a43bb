// SETTINGS: what may be set, what holds until then, and what this end asks for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HTTP_LIMITS } from '../http/exchange.ts';
import { ERROR, MAX_WINDOW_BYTES, SETTING } from './protocol.ts';
import { ownSettings, ownWindows, PeerSettings } from './settings.ts';

test('6.5.2: until the peer sets anything its defaults hold', () => {
  const { windowBytes, frameBytes, takesTunnels, hasCome, knowsOurs } = new PeerSettings(true);
  assert.deepEqual({ windowBytes, frameBytes, takesTunnels, hasCome, knowsOurs }, { windowBytes: 65_535, frameBytes: 16_384, takesTunnels: false, hasCome: false, knowsOurs: false });
});

const FINE: readonly (readonly [name: number, value: number, Partial<PeerSettings>])[] = [
  [SETTING.maxConcurrentStreams, 0, { streams: 0 }],
  [SETTING.initialWindowSize, 0, { windowBytes: 0 }],
  [SETTING.initialWindowSize, MAX_WINDOW_BYTES, { windowBytes: MAX_WINDOW_BYTES }],
  [SETTING.maxFrameSize, 16_384, { frameBytes: 16_384 }],
  [SETTING.maxFrameSize, 0xff_ffff, { frameBytes: 0xff_ffff }],
  [SETTING.enableConnectProtocol, 1, { takesTunnels: true }],
  [SETTING.enablePush, 0, {}],
  [0x7777, 0xffff_ffff, {}],
];
for (const [name, value, expected] of FINE) {
  test(`6.5.2: setting ${name} may be ${value}`, () => {
    const settings = new PeerSettings(true);
    assert.equal(settings.take(name, value), undefined);
    for (const [key, is] of Object.entries(expected)) assert.equal(settings[key as keyof PeerSettings], is);
  });
}

const WRONG: readonly (readonly [name: number, value: number, code: number])[] = [
  [SETTING.enablePush, 2, ERROR.protocol],
  [SETTING.initialWindowSize, MAX_WINDOW_BYTES + 1, ERROR.flowControl],
  [SETTING.maxFrameSize, 16_383, ERROR.protocol],
  [SETTING.maxFrameSize, 0x100_0000, ERROR.protocol],
  [SETTING.enableConnectProtocol, 2, ERROR.protocol],
];
for (const [name, value, code] of WRONG) {
  test(`6.5.2: setting ${name} may not be ${value}, and what held before holds on`, () => {
    const settings = new PeerSettings(true);
    assert.equal(settings.take(name, value)?.code, code);
    assert.deepEqual([settings.windowBytes, settings.frameBytes, settings.takesTunnels], [65_535, 16_384, false]);
  });
}

test('6.5.2: a client may say that it takes pushes, a server may not', () => {
  assert.equal(new PeerSettings(true).take(SETTING.enablePush, 1), undefined);
  assert.equal(new PeerSettings(false).take(SETTING.enablePush, 1)?.code, ERROR.protocol);
});

test('6.5.3: a peer that acknowledges ours has them, and knows them', () => {
  const settings = new PeerSettings(true);
  settings.acknowledged();
  assert.deepEqual([settings.hasOurs, settings.knowsOurs], [true, true]);
});

test('6.9.2: no stream is given less than the window a peer may use before it has read our settings, and the connection several streams’', () => {
  assert.deepEqual(ownWindows({ ...HTTP_LIMITS, bufferBytes: 1_000 }), { streamBytes: 65_535, connectionBytes: 8 * 65_535 });
  assert.deepEqual(ownWindows({ ...HTTP_LIMITS, bufferBytes: 100_000 }), { streamBytes: 100_000, connectionBytes: 800_000 });
  assert.ok(ownWindows({ ...HTTP_LIMITS, bufferBytes: MAX_WINDOW_BYTES }).connectionBytes <= MAX_WINDOW_BYTES);
});

test('6.5.2: a server says how many streams it takes, a client that it wants no push', () => {
  const pairs = (isServer: boolean): Map<number, number> => {
    const flat = ownSettings({ ...HTTP_LIMITS, streams: 7 }, isServer);
    return new Map(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] as number] as const] : [])));
  };
  assert.deepEqual([pairs(true).get(SETTING.maxConcurrentStreams), pairs(true).get(SETTING.enableConnectProtocol), pairs(true).has(SETTING.enablePush)], [7, 1, false]);
  assert.deepEqual([pairs(false).get(SETTING.enablePush), pairs(false).has(SETTING.maxConcurrentStreams)], [0, false]);
  assert.equal(pairs(false).get(SETTING.initialWindowSize), ownWindows(HTTP_LIMITS).streamBytes);
});
