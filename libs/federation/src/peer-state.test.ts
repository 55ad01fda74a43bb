import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fakeClock } from '@isthmus/runtime/testing';
import { DEFAULT_PEER_TIMES, PeerHealth } from './peer-state.ts';

function watched() {
  const clock = fakeClock();
  const states: string[] = [];
  const health: PeerHealth = new PeerHealth({ clock, times: DEFAULT_PEER_TIMES, onChange: () => states.push(health.state) });
  return { clock, health, states };
}

describe('a peer', () => {
  test('that was never heard is stale, and presumed dead after two minutes', async () => {
    const { clock, health, states } = watched();
    assert.equal(health.state, 'stale');
    await clock.advance(119_000);
    assert.deepEqual(states, []);
    await clock.advance(1_001);
    assert.deepEqual(states, ['presumed-dead']);
    assert.equal(health.ageMs(), undefined);
  });

  test('that stops its heartbeat is stale after 15 s and presumed dead after 120 s, with the time it began', async () => {
    const { clock, health, states } = watched();
    health.heard();
    await clock.advance(14_999);
    assert.equal(health.state, 'fresh');
    await clock.advance(2);
    assert.equal(health.state, 'stale');
    const since = health.staleSinceMs;
    await clock.advance(105_000);
    assert.deepEqual(states, ['fresh', 'stale', 'presumed-dead']);
    assert.equal(health.staleSinceMs, since);
    assert.equal(health.ageMs(), 120_001);
  });

  test('that beats on time changes state once', async () => {
    const { clock, health, states } = watched();
    for (let i = 0; i < 50; i++) {
      health.heard();
      await clock.advance(5_000);
    }
    assert.deepEqual(states, ['fresh']);
  });

  test('is fresh again with one heartbeat, and not flapping before', async () => {
    const { clock, health, states } = watched();
    health.heard();
    await clock.advance(200_000);
    health.heard();
    assert.deepEqual(states, ['fresh', 'stale', 'presumed-dead', 'fresh']);
    assert.equal(health.staleSinceMs, undefined);
  });
});

test('a pause of this process is no evidence against a peer: one more heartbeat is waited for', async () => {
  const clock = fakeClock();
  let pausedMs = 0;
  const paused = { ...clock, monotonicMs: () => clock.monotonicMs() + pausedMs };
  const states: string[] = [];
  const health: PeerHealth = new PeerHealth({ clock: paused, times: DEFAULT_PEER_TIMES, onChange: () => states.push(health.state) });
  health.heard();
  pausedMs = 60_000; // Stopped for a minute; the timer fires late.
  await clock.advance(15_001);
  assert.equal(health.state, 'fresh');
  health.heard(); // What had been waiting in the socket.
  await clock.advance(5_001);
  assert.deepEqual(states, ['fresh']);
  await clock.advance(15_000);
  assert.deepEqual(states, ['fresh', 'stale']);
});
