import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { IsthmusError } from '@isthmus/model';
import { openMetrics } from '@isthmus/telemetry';
import { serveHealth } from './health.ts';
import { request } from './http-client.ts';

async function get(port: number, path: string): Promise<{ status: number; body: string; type: string }> {
  const answer = await request(`http://127.0.0.1:${port}${path}`);
  return { status: answer.statusCode, body: await answer.body.text(), type: String(answer.headers['content-type']) };
}

test('alive, ready, and which check says it is not; a check that throws does not hold', async () => {
  const state = { store: true, fault: false };
  const health = await serveHealth({
    port: 0,
    metrics: openMetrics(),
    checks: {
      store: () => state.store,
      snapshot: () => {
        if (state.fault) throw new Error('bug');
        return true;
      },
    },
  });
  try {
    assert.deepEqual(await get(health.port, '/readyz'), { status: 200, body: 'ready\n', type: 'text/plain; charset=utf-8' });
    Object.assign(state, { store: false, fault: true });
    assert.equal((await get(health.port, '/readyz')).body, 'not ready: store, snapshot\n');
    assert.equal((await get(health.port, '/readyz')).status, 503);
    assert.equal((await get(health.port, '/healthz')).status, 200);
    assert.equal((await get(health.port, '/other')).status, 404);
  } finally {
    await health.close();
  }
});

test('metrics come out in the Prometheus text format', async () => {
  const metrics = openMetrics();
  metrics.gauge('isthmus_test_connections', 'Connections').set(3);
  const health = await serveHealth({ port: 0, metrics, checks: {} });
  try {
    const answer = await get(health.port, '/metrics');
    assert.match(answer.type, /^text\/plain; version=0\.0\.4/);
    assert.match(answer.body, /^isthmus_test_connections 3$/m);
  } finally {
    await health.close();
  }
});

test('a port that is taken is named in the error', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const { port } = other.address() as AddressInfo;
  try {
    await assert.rejects(
      serveHealth({ port, metrics: openMetrics(), checks: {} }),
      (error) => error instanceof IsthmusError && error.code === 'PORT_BUSY' && error.message.includes(`port ${port} on 127.0.0.1`),
    );
  } finally {
    other.close();
  }
});

test('it is reachable from this machine only, unless told otherwise', async () => {
  const health = await serveHealth({ port: 0, metrics: openMetrics(), checks: {} });
  try {
    // All of 127.0.0.0/8 is this machine, but only 127.0.0.1 is bound.
    await assert.rejects(request(`http://127.0.0.2:${health.port}/healthz`), /ECONNREFUSED|EADDRNOTAVAIL/);
  } finally {
    await health.close();
  }
});
