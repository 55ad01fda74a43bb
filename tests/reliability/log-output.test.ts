// Row 82: where a gateway's log goes may be full or stuck; traffic does not notice.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LEDGER, names, outboundOf, request, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { readiness, respawnGateway } from './gateway-process.ts';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

const DEBUG = 'log: { level: "debug" }\n';

/** Callers that are refused, each of which is a line in a log of level debug. */
async function refuse(count: number): Promise<void> {
  const port = mesh.federation.port(names.gateway('west'));
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port }, () => socket.write('GET / HTTP/1.1\r\n\r\n'));
      socket.on('error', () => undefined);
      socket.on('data', () => undefined);
      socket.once('close', () => resolve());
    });
  }
}

async function assertServing(): Promise<void> {
  await waitFor('a request through the gateway', 30_000, async () => ((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok ? true : undefined));
  await refuse(300);
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok, true);
  assert.equal(await readiness(mesh.federation, names.gateway('west')), 'ready');
}

test('a log on a full disk costs no traffic', { timeout: 90_000 }, async () => {
  await respawnGateway(mesh, { cluster: 'west', shell: 'echo respawned && exec "$@" >/dev/full', config: DEBUG });
  await assertServing();
});

test('a log into a pipe that nobody reads costs no traffic', { timeout: 90_000 }, async (t) => {
  const fifo = join(mesh.paths.root, 'log.fifo');
  execFileSync('mkfifo', [fifo]);
  // Open for reading too, so that writers have somebody; then filled to the brim.
  const pipe = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => closeSync(pipe));
  const junk = Buffer.alloc(4_096, 0x20);
  for (let isFull = false; !isFull; ) {
    try {
      writeSync(pipe, junk);
    } catch {
      isFull = true;
    }
  }
  await respawnGateway(mesh, { cluster: 'west', shell: `echo respawned && exec "$@" >${fifo}`, config: DEBUG });
  await assertServing();
  // Once somebody reads, the lines come.
  let text = '';
  await waitFor('the lines that waited', 20_000, () => {
    const buffer = Buffer.alloc(65_536);
    try {
      text += buffer.toString('utf8', 0, readSync(pipe, buffer));
    } catch {
      return undefined;
    }
    return text.includes('"msg":"ready"') ? true : undefined;
  });
});
