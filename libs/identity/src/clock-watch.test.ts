import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { type SpiffeId } from '@isthmus/model';
import { generateKey } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics } from '@isthmus/telemetry';
import { openClockWatch, skewOf } from './clock-watch.ts';
import { joinOrResume } from './proxy/join.ts';
import { recordingLog, startTestCluster, startTestTrustRoot, testDir } from './testing.ts';

test('a moment between asking and answer is no skew; before or after it is by the distance', () => {
  assert.deepEqual([skewOf(5, 0, 10), skewOf(0, 0, 10), skewOf(10, 0, 10), skewOf(25, 0, 10), skewOf(-7, 0, 10)], [0, 0, 0, 15, -7]);
});

test('row 33: an issuer whose clock is half a minute off is an alarm in metric and log, and its end is told', async () => {
  const { log, lines } = recordingLog();
  const metrics = openMetrics();
  let nowMs = Date.now();
  const watch = openClockWatch({ issuer: 'trust-root', clock: { ...systemClock, nowMs: () => nowMs }, log, metrics });
  assert.equal(watch.skewMs(), undefined);
  const issue = (atMs: number): Buffer => testAuthority({ nowMs: atMs - 1_000 }).issue('spiffe://east.acme.example/agent/a', { nowMs: atMs }).chain[0] ?? Buffer.alloc(0);
  watch.note(issue(nowMs), nowMs);
  assert.deepEqual([watch.skewMs(), lines.length], [0, 0]);
  watch.note(issue(nowMs + 45_000), nowMs);
  assert.equal(watch.skewMs(), 45_000);
  assert.match(lines.join(), /clocks differ/);
  assert.match(await metrics.text(), /isthmus_identity_clock_skew_seconds\{issuer="trust-root"\} 45/);
  const before = lines.length;
  nowMs += 45_000;
  watch.note(issue(nowMs), nowMs);
  assert.equal(lines.length, before + 1);
  assert.match(lines.at(-1) ?? '', /agree again/);
});

test('row 33: a control plane and an agent whose clocks are behind say by how much in their status', { timeout: 60_000 }, async () => {
  const dir = await testDir('clock');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const behind = { ...systemClock, nowMs: () => Date.now() - 40_000 };
  const east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), clock: behind });
  await east.authority.renewNow();
  const skewMs = east.authority.status().clockSkewMs ?? 0;
  assert.ok(skewMs > 35_000 && skewMs < 45_000, String(skewMs));
  const { token } = await east.issuance.createJoinToken({ agent: 'vm-1', role: 'agent', services: [] });
  const agent = await joinOrResume({ stateDir: join(dir.path, 'vm-1'), token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: recordingLog().log });
  await agent.renewNow();
  const agentSkewMs = agent.status().clockSkewMs ?? 0;
  assert.ok(agentSkewMs < -35_000 && agentSkewMs > -45_000, String(agentSkewMs));
  east.authority.sign({ publicKey: createPublicKey(generateKey()), spiffeId: 'spiffe://east.acme.example/agent/a' as SpiffeId });
  await agent.close();
  await east.close();
  await root.close();
  await dir.remove();
});
