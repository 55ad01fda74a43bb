// Row 40: thousands come at once after an outage; the soonest to expire are served first, and nobody is left to time out.
import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { IsthmusError, type SpiffeId } from '@isthmus/model';
import { generateKey, makeCsr, parseCsr, signSvid } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { call, identity } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { fakeClock } from '@isthmus/runtime/testing';
import { silentLog } from '@isthmus/telemetry';
import { joinOrResume } from '../proxy/join.ts';
import { startTestCluster, startTestTrustRoot, testDir } from '../testing.ts';
import { openIssuanceQueue } from './issuance-queue.ts';

const isBusy = (error: unknown): error is IsthmusError => error instanceof IsthmusError && error.code === 'IDENTITY_BUSY';

test('row 40: 4,000 renewals at once, really signed: all are served, the soonest to expire first, none waits beyond the limit', { timeout: 300_000 }, async (t) => {
  const [holders, maxWaiting, maxWaitMs] = [4_000, 1_000, 5_000];
  const authority = testAuthority();
  const csr = makeCsr({ key: generateKey(), spiffeId: 'spiffe://east.acme.example/agent/a' as SpiffeId });
  const queue = openIssuanceQueue({ clock: systemClock, random: systemRandom, maxWaiting, maxWaitMs });
  const beginMs = systemClock.monotonicMs();
  const served: number[] = [];
  let [longestMs, refusals, mostWaiting] = [0, 0, 0];

  const work = async (place: number): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve)); // as the store would be asked
    const read = parseCsr(csr);
    assert.ok(read.ok);
    const leaf = signSvid({ issuer: authority.intermediate, publicKey: read.value.publicKey, spiffeId: 'spiffe://east.acme.example/agent/a' as SpiffeId, dnsNames: [], nowMs: Date.now(), ttlMs: 3_600_000 });
    assert.ok(leaf.length > 0);
    served.push(place);
  };
  const holder = async (place: number): Promise<void> => {
    const expiresAtMs = Date.now() + 60_000 + place * 100;
    for (;;) {
      const sinceMs = systemClock.monotonicMs();
      try {
        return await queue.run(expiresAtMs, () => {
          longestMs = Math.max(longestMs, systemClock.monotonicMs() - sinceMs);
          return work(place);
        });
      } catch (error) {
        assert.ok(isBusy(error), String(error));
        refusals += 1;
        mostWaiting = Math.max(mostWaiting, queue.waiting);
        await systemClock.sleep(Number(error.facts['retryAfterMs']));
      }
    }
  };
  // They come in no order.
  const order = Array.from({ length: holders }, (_, i) => (i * 2_741) % holders);
  await Promise.all(order.map(holder));
  const seconds = (systemClock.monotonicMs() - beginMs) / 1_000;
  assert.equal(new Set(served).size, holders, 'everybody');
  assert.ok(refusals > 0 && mostWaiting <= maxWaiting, `${mostWaiting} waited`);
  // A turn may come just before the sweep that would have refused it, on a machine that is busy.
  assert.ok(longestMs < maxWaitMs + 10_000, `one waited ${longestMs} ms`);
  const early = served.slice(64, 64 + maxWaiting / 2);
  assert.ok(early.every((place) => place < maxWaiting), 'of those that waited the soonest to expire went first');
  t.diagnostic(`${holders} renewals in ${seconds.toFixed(1)} s, ${refusals} told to come again, longest wait ${longestMs.toFixed(0)} ms`);
});

test('a full queue gives up the latest to expire for one that expires sooner, and says when to come again', async () => {
  const clock = fakeClock();
  const queue = openIssuanceQueue({ clock, random: () => 0, maxRunning: 1, maxWaiting: 1 });
  const blocker = Promise.withResolvers<void>();
  const done: string[] = [];
  const ask = (name: string, inMs: number) => queue.run(clock.nowMs() + inMs, async () => void done.push(name)).then(() => name, (error: unknown) => error);
  const running = queue.run(0, () => blocker.promise);
  const late = ask('late', 3_600_000);
  const soon = ask('soon', 60_000);
  const later = ask('later', 7_200_000);
  for (const refused of [await late, await later]) {
    assert.ok(isBusy(refused));
    assert.equal(refused.facts['retryAfterMs'], 1_000);
  }
  blocker.resolve();
  await running;
  assert.equal(await soon, 'soon');
  assert.deepEqual([done, queue.waiting], [['soon'], 0]);
});

test('whoever waits too long is told to come again, and one that fails frees its place', async () => {
  const clock = fakeClock();
  const queue = openIssuanceQueue({ clock, random: () => 0, maxRunning: 1, maxWaitMs: 5_000 });
  const blocker = Promise.withResolvers<void>();
  const running = queue.run(0, () => blocker.promise);
  const waiting = queue.run(clock.nowMs() + 1e9, () => Promise.resolve()).catch((error: unknown) => error);
  await clock.advance(5_600);
  assert.ok(isBusy(await waiting));
  blocker.reject(new Error('store away'));
  await assert.rejects(running, /store away/);
  assert.equal(await queue.run(0, () => Promise.resolve('served')), 'served');
  assert.equal(clock.pending(), 0, 'no timer without waiters');
});

test('over the wire: who is not served is told how long to wait, in RESOURCE_EXHAUSTED', { timeout: 60_000 }, async () => {
  const dir = await testDir('queue');
  const root = await startTestTrustRoot(join(dir.path, 'root'));
  const east = await startTestCluster(join(dir.path, 'east'), { cluster: 'east', trustRoot: { address: root.address }, token: await root.token('east'), queue: { maxRunning: 1, maxWaiting: 2 } });
  const { token } = await east.issuance.createJoinToken({ agent: 'vm-1', role: 'agent', services: [] });
  const proxy = await joinOrResume({ stateDir: await mkdtemp(join(dir.path, 'vm-')), token, server: { address: east.address }, clock: systemClock, random: systemRandom, log: silentLog() });
  const client = proxy.channel().client(identity.IssuanceClient);
  const csr = makeCsr({ key: generateKey(), spiffeId: proxy.spiffeId });
  const answers = await Promise.allSettled(Array.from({ length: 20 }, () => call<identity.RenewRequest, identity.SvidResponse>(client.renew.bind(client), { csr }, { timeoutMs: 20_000 })));
  const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
  assert.ok(refused.length > 0 && refused.length < 20, `${refused.length} refused`);
  for (const error of refused) assert.ok(isBusy(error) && Number(error.facts['retryAfterMs']) >= 1_000 && error.class === 'exhausted');
  await proxy.close();
  await east.close();
  await root.close();
  await dir.remove();
});
