// Row 59: a gateway with few descriptors and far more callers stops taking connections, never serving those it has.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { askOverTls, LEDGER, names, outboundOf, request, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { readiness, respawnGateway } from './gateway-process.ts';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

const DESCRIPTORS = 300;
const LEDGER_SNI = 'http.ledger.shop.svc.west.demo.isthmus.example';

function openIdle(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  return socket;
}

test('with twice as many idle callers as descriptors, a gateway serves whom it has, answers its operator, and recovers', { timeout: 120_000 }, async (t) => {
  const { pid } = await respawnGateway(mesh, { cluster: 'west', shell: `ulimit -n ${DESCRIPTORS} && echo respawned && exec "$@"` });
  const port = mesh.federation.port(names.gateway('west'));
  const ledger = outboundOf(mesh.federation, 'vm-1', LEDGER);
  await waitFor('a request through the gateway', 30_000, async () => ((await request(ledger)).ok ? true : undefined));

  const idle = Array.from({ length: DESCRIPTORS * 2 }, () => openIdle(port));
  t.after(() => idle.forEach((socket) => socket.destroy()));
  const used = (): number => readdirSync(`/proc/${pid}/fd`).length;
  await waitFor('the gateway to be full', 20_000, () => (idle.every((s) => s.readyState !== 'opening') ? true : undefined));

  assert.equal((await request(ledger)).ok, true, 'the connection it has goes on');
  assert.ok(used() < DESCRIPTORS, `${used()} descriptors in use`);
  assert.equal(await readiness(mesh.federation, names.gateway('west')), 'ready');
  const status = await mesh.federation.proxy(names.gateway('west')).status();
  assert.ok(Number(status['connections']) < DESCRIPTORS, `${String(status['connections'])} connections`);
  assert.equal(mesh.supervisor.get(names.gateway('west')).isRunning(), true);

  for (const socket of idle) socket.destroy();
  await waitFor('a new connection to be led to the workload', 20_000, async () => (/server spiffe:/.test((await askOverTls({ port, serverName: LEDGER_SNI })).detail) ? true : undefined));
  assert.equal((await request(ledger)).ok, true);
});
