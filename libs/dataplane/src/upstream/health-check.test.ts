// Thresholds and timing on a fake clock; the three probes against real servers.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTcp, type Server } from 'node:net';
import { after, test } from 'node:test';
import type { Health, Workload } from '@isthmus/model';
import { freePort, systemClock } from '@isthmus/runtime';
import { fakeClock } from '@isthmus/runtime/testing';
import { silentLog } from '@isthmus/telemetry';
import { nextHealth, type HealthState, probeHttp, type ProbeResult, probeTcp, resolveCheck, startHealthChecks } from './health-check.ts';

const WORKLOAD: Workload = { kind: 'workload', namespace: 'shop', service: 'payments', instance: 'p-1', ports: { http: 8080 } };
const closers: (() => void)[] = [];
after(() => closers.forEach((close) => close()));

/** Checks whose probe answers as the list says, on a fake clock. */
function scripted(answers: boolean[], over: Partial<Workload> = {}) {
  const clock = fakeClock();
  const told: Health[] = [];
  let probes = 0;
  const checks = startHealthChecks({
    workload: { ...WORKLOAD, ...over },
    clock,
    random: () => 0.5,
    log: silentLog(),
    onChange: (health) => told.push(health),
    probe: async (): Promise<ProbeResult> => {
      const ok = answers[Math.min(probes++, answers.length - 1)] ?? false;
      return ok ? { ok } : { ok, detail: 'refused' };
    },
  });
  closers.push(() => checks.close());
  return { clock, told, checks, probes: () => probes };
}

test('the first probe runs at once, and its pass makes the workload healthy', async () => {
  const { clock, told, checks } = scripted([true]);
  assert.equal(checks.health(), 'unknown');
  await clock.advance(0);
  assert.deepEqual(told, ['healthy']);
});

test('the third failure in a row makes it unhealthy, one pass makes it healthy again', async () => {
  const { clock, told } = scripted([true, false, false, true, false, false, false, true]);
  await clock.advance(2_000 * 5);
  assert.deepEqual(told, ['healthy']);
  await clock.advance(2_000);
  assert.deepEqual(told, ['healthy', 'unhealthy']);
  await clock.advance(2_000);
  assert.deepEqual(told, ['healthy', 'unhealthy', 'healthy']);
});

test('what the data path saw counts at once, and the next passing probe undoes it', async () => {
  const { clock, told, checks } = scripted([true]);
  await clock.advance(0);
  checks.reportDown('connect refused');
  assert.deepEqual(told, ['healthy', 'unhealthy']);
  assert.equal(checks.detail(), 'connect refused');
  await clock.advance(2_000);
  assert.deepEqual(told, ['healthy', 'unhealthy', 'healthy']);
});

test('a probe that began before the data path saw it down cannot bring it back', async () => {
  const clock = fakeClock();
  const first = Promise.withResolvers<ProbeResult>();
  const told: Health[] = [];
  const checks = startHealthChecks({ workload: WORKLOAD, clock, random: () => 0.5, log: silentLog(), onChange: (h) => told.push(h), probe: () => first.promise });
  closers.push(() => checks.close());
  checks.reportDown('connect refused');
  first.resolve({ ok: true });
  await clock.advance(100);
  assert.deepEqual(told, ['unhealthy']);
});

test('a draining workload stays draining whatever probes say, and comes back as it is', async () => {
  const { clock, told, checks } = scripted([true, true, false, false, false, false]);
  await clock.advance(0);
  checks.setDraining(true);
  await clock.advance(10_000);
  assert.equal(checks.health(), 'draining');
  checks.setDraining(false);
  assert.deepEqual(told, ['healthy', 'draining', 'unhealthy']);
});

test('a probe that hangs fails at its time limit, and there is never a second one beside it', async () => {
  const clock = fakeClock();
  let probes = 0;
  const told: Health[] = [];
  const checks = startHealthChecks({
    workload: { ...WORKLOAD, healthCheck: { kind: 'tcp', timeoutMs: 500, intervalMs: 1_000 } },
    clock, random: () => 0.5, log: silentLog(), onChange: (h) => told.push(h),
    probe: () => {
      probes += 1;
      return new Promise(() => undefined);
    },
  });
  closers.push(() => checks.close());
  await clock.advance(499);
  assert.deepEqual(told, []);
  await clock.advance(1);
  assert.deepEqual(told, ['unhealthy']);
  assert.equal(probes, 1);
  await clock.advance(1_000);
  assert.equal(probes, 2);
});

test('closing ends every timer', async () => {
  const { clock, checks } = scripted([true]);
  await clock.advance(0);
  checks.close();
  assert.equal(clock.pending(), 0);
});

test('thresholds: a table of single steps', () => {
  const check = { healthyThreshold: 2, unhealthyThreshold: 3 };
  const rows: readonly [name: string, from: HealthState, ok: boolean, to: HealthState][] = [
    ['unknown passes', { health: 'unknown', streak: 0 }, true, { health: 'healthy', streak: 0 }],
    ['unknown fails', { health: 'unknown', streak: 0 }, false, { health: 'unhealthy', streak: 0 }],
    ['first pass of two', { health: 'unhealthy', streak: 0 }, true, { health: 'unhealthy', streak: 1 }],
    ['second pass of two', { health: 'unhealthy', streak: 1 }, true, { health: 'healthy', streak: 0 }],
    ['a failure in between', { health: 'unhealthy', streak: 1 }, false, { health: 'unhealthy', streak: 0 }],
    ['second failure of three', { health: 'healthy', streak: 1 }, false, { health: 'healthy', streak: 2 }],
    ['third failure of three', { health: 'healthy', streak: 2 }, false, { health: 'unhealthy', streak: 0 }],
  ];
  for (const [name, from, ok, to] of rows) assert.deepEqual(nextHealth(from, ok, check), to, name);
});

test('a workload that names no check is probed by TCP at its first port', () => {
  const check = resolveCheck(WORKLOAD);
  assert.deepEqual([check.kind, check.host, check.port, check.intervalMs], ['tcp', '127.0.0.1', 8080, 2_000]);
});

async function portOf(server: Server): Promise<number> {
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  closers.push(() => server.close());
  return port;
}

const limit = (): AbortSignal => AbortSignal.timeout(5_000);

test('the TCP probe passes on an open port and fails with the reason on a closed one', async () => {
  const server = createTcp();
  const port = await portOf(server);
  assert.deepEqual(await probeTcp({ host: '127.0.0.1', port }, limit()), { ok: true });
  await new Promise((resolve) => server.close(resolve));
  const result = await probeTcp({ host: '127.0.0.1', port }, limit());
  assert.match(result.ok ? '' : result.detail, /ECONNREFUSED/);
});

test('the HTTP probe takes 2xx and 3xx for healthy and names any other status', async () => {
  const port = await portOf(createServer((request, response) => response.writeHead(Number(request.url?.slice(1))).end()));
  for (const status of [200, 204, 301]) assert.deepEqual(await probeHttp({ host: '127.0.0.1', port, path: `/${status}` }, limit()), { ok: true });
  for (const status of [404, 500, 503]) assert.deepEqual(await probeHttp({ host: '127.0.0.1', port, path: `/${status}` }, limit()), { ok: false, detail: `status ${status}` });
});

test('an aborted HTTP probe fails instead of waiting for ever', async () => {
  const port = await portOf(createServer(() => undefined));
  const controller = new AbortController();
  const result = probeHttp({ host: '127.0.0.1', port, path: '/' }, controller.signal);
  controller.abort();
  assert.equal((await result).ok, false);
});

test('with the real clock a stopped server is found out and a restarted one comes back', async () => {
  const server = createTcp();
  const port = await portOf(server);
  const seen: Health[] = [];
  let wake = (): void => undefined;
  const until = async (health: Health): Promise<void> => {
    while (seen.at(-1) !== health) await new Promise<void>((resolve) => (wake = resolve));
  };
  const checks = startHealthChecks({
    workload: { ...WORKLOAD, ports: { http: port }, healthCheck: { kind: 'tcp', intervalMs: 50, unhealthyThreshold: 2 } },
    clock: systemClock, log: silentLog(),
    onChange: (health) => {
      seen.push(health);
      wake();
    },
  });
  closers.push(() => checks.close());
  await until('healthy');
  await new Promise((resolve) => server.close(resolve));
  await until('unhealthy');
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await until('healthy');
  assert.deepEqual(seen, ['healthy', 'unhealthy', 'healthy']);
});
