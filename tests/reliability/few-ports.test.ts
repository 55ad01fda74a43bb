// Row 81: a gateway without a local port left refuses who cannot be led on, says so, and leads again once there are some.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '@isthmus/harness';
import { whyNoHosts } from '../netns/network.ts';

const skip = whyNoHosts() ?? false;
const SPACE = `isth${process.pid}-ports`;

before(() => {
  if (skip !== false) return;
  execFileSync('ip', ['netns', 'add', SPACE]);
  execFileSync('ip', ['-n', SPACE, 'link', 'set', 'lo', 'up']);
});
after(() => {
  if (skip === false) execFileSync('ip', ['netns', 'delete', SPACE]);
});

test('with 24 local ports and 60 callers, the gateway leads those it can, refuses the rest quickly, lives, and recovers', { skip, timeout: 150_000 }, async (t) => {
  const inner = fileURLToPath(new URL('./few-ports.ts', import.meta.url));
  const finished = await run('ip', ['netns', 'exec', SPACE, process.execPath, inner], { limitMs: 140_000 });
  assert.equal(finished.code, 0, finished.stderr.slice(-3_000));
  const seen = JSON.parse(finished.stdout.trim().split('\n').at(-1) ?? '') as { led: number; refused: number; isRunning: boolean; connectFailures: number; readiness: string };
  t.diagnostic(JSON.stringify(seen));
  assert.ok(seen.led >= 10 && seen.led <= 24, `${seen.led} led`);
  assert.equal(seen.led + seen.refused, 60);
  assert.ok(seen.connectFailures >= seen.refused, `${seen.connectFailures} connect failures counted`);
  assert.equal(seen.isRunning, true);
  assert.equal(seen.readiness, 'ready');
});
