import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import type { ServiceView } from '@isthmus/model';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { startEastWest } from '../../proxy/east-west.ts';
import * as libc from '../../transport/linux/libc.ts';
import { socketAddress } from '../../transport/linux/socket-address.ts';
import { endpointAt, HELLO, type Peer, TRUST_DOMAIN, until, viewsOf, withRig } from '../conformance/rig.ts';
import { TestSnapshots } from '../testing.ts';

/** Every thread this process started. */
const threads: Worker[] = [];
const note = (worker: Worker): number => threads.push(worker);
process.on('worker', note);
after(() => process.off('worker', note));

const alive = (): readonly Worker[] => threads.filter((worker) => worker.threadId !== -1);
const descriptors = (): number => readdirSync('/proc/self/fd').length;
const over = { workers: 2 };

async function exchange(pair: { readonly client: Peer; readonly server: Peer }): Promise<void> {
  const before = pair.client.receivedBytes;
  await pair.server.write('pong');
  await pair.client.hasReceived(before + 4);
}

test('a killed worker costs its own connections alone, leaves no descriptor, and is replaced (reliability 67)', { timeout: 60_000 }, () =>
  withRig('linux', { over }, async (rig) => {
    // So many that both workers have some, whatever the kernel's hash.
    const pairs: { readonly client: Peer; readonly server: Peer }[] = [];
    while (pairs.length < 40) pairs.push(await rig.open());
    const [, second] = alive().slice(-2);
    assert.ok(second !== undefined);
    await second.terminate();
    await until('the connections of the dead worker to end', () => pairs.some(({ client }) => client.socket.closed));
    await until('both ends of each to end', () => pairs.every(({ client, server }) => client.socket.closed === server.socket.closed));
    const [ended, others] = [pairs.filter(({ client }) => client.socket.closed), pairs.filter(({ client }) => !client.socket.closed)];
    for (const { client, server } of ended) assert.deepEqual([client.errorCode, server.errorCode], ['ECONNRESET', 'ECONNRESET']);
    assert.ok(others.length > 0 && others.length < pairs.length, `${others.length} of ${pairs.length} go on`);
    for (const pair of others) await exchange(pair);
    await until('another thread', () => alive().length >= 2);
    await rig.counts('isthmus_dataplane_worker_restarts_total 1', `isthmus_gateway_open_connections ${others.length}`);
    for (let i = 0; i < 20; i++) await exchange(await rig.open());
  }));

test('a worker that an exception ends is replaced too', { timeout: 60_000 }, () =>
  withRig('linux', { over: { workers: 1 } }, async (rig) => {
    const { client } = await rig.open();
    const [thread] = alive().slice(-1);
    thread?.postMessage(undefined, []); // its handler reads a field of it, and throws
    assert.equal(await client.closed(), 'ECONNRESET');
    await rig.counts('isthmus_dataplane_worker_restarts_total 1');
    let next = await rig.connect();
    while (next.errorCode === 'ECONNREFUSED') next = await rig.connect(); // it listens a moment after it is there
    await next.write(HELLO);
    await (await rig.backend.peer(1)).hasReceived(HELLO.length);
  }));

test('workers that die as soon as they start are replaced one at a time, ever more slowly, and none outlives the close', { timeout: 60_000 }, async () => {
  const before = alive().length;
  await withRig('linux', { over: { workers: 1 } }, async (rig) => {
    const [good] = viewsOf([endpointAt(rig.backend.port)]);
    assert.ok(good !== undefined);
    const started = threads.length;
    rig.snapshots.set({ ...good, endpoints: null } as unknown as ServiceView); // every worker that gets it dies of it
    let most = 0;
    await until('the fourth replacement', () => {
      most = Math.max(most, alive().length - before);
      return threads.length >= started + 4;
    });
    assert.equal(most, 1);
    rig.snapshots.set(...viewsOf([endpointAt(rig.backend.port)]));
    await until('a worker that stays', () => rig.relay.connections === 0 && alive().length - before === 1);
    rig.snapshots.set({ ...good, endpoints: null } as unknown as ServiceView);
    await until('its death', () => alive().length === before);
    await rig.relay.close();
    assert.equal(alive().length, before);
  });
});

test('closing while a worker is being replaced leaves neither thread nor descriptor nor listener', { timeout: 60_000 }, async () => {
  const before = alive().length;
  let open = 0;
  await withRig('linux', { over }, async (rig) => {
    await alive().at(-1)?.terminate();
    await rig.relay.close();
    assert.equal(alive().length, before);
    const taken = createServer();
    await new Promise<void>((resolve, reject) => taken.once('error', reject).listen(rig.relay.port, '127.0.0.1', resolve));
    await new Promise((resolve) => taken.close(resolve));
    open = descriptors();
  });
  assert.ok(descriptors() <= open);
});

test('a port that another relay has is refused, though both would share it among their own workers (reliability 85)', { timeout: 60_000 }, () =>
  withRig('linux', { over }, async (rig) => {
    const again = startEastWest({
      listen: { host: '127.0.0.1', port: rig.relay.port },
      snapshots: new TestSnapshots(),
      trustDomain: TRUST_DOMAIN,
      reserved: {},
      engine: 'linux',
      workers: 2,
      log: silentLog(),
      metrics: openMetrics(),
    });
    await assert.rejects(again, { code: 'DATAPLANE_LISTEN_FAILED' });
    await rig.open();
  }));

test('connections killed in every state leave no descriptor behind', { timeout: 60_000 }, () =>
  withRig('linux', { over, onPeer: (peer) => peer.socket.on('end', () => peer.socket.destroy()) }, async (rig) => {
    await Promise.all(Array.from({ length: 4 }, () => rig.open()));
    const bulk = Buffer.alloc(300_000, 1);
    const round = async (count: number): Promise<void> => {
      const killed = await Promise.all(
        Array.from({ length: count }, async (_, i) => {
          const client = await rig.connect();
          const state = i % 6;
          if (state > 0) void client.write(HELLO.subarray(0, state === 1 ? 30 : undefined));
          if (state > 2) void client.write(bulk);
          if (state === 4) await new Promise((resolve) => setImmediate(resolve));
          if (state === 5) await until('an endpoint', () => rig.backend.peers.some(({ receivedBytes }) => receivedBytes > 0));
          if (i % 2 === 0) client.socket.resetAndDestroy();
          else client.socket.destroy();
          return client;
        }),
      );
      await until('every close', () => killed.every(({ socket }) => socket.closed));
      await until('every connection to be let go', () => rig.relay.connections === 4 && rig.backend.peers.filter(({ socket }) => !socket.closed).length === 4);
    };
    await round(120); // fills the pools of pipes
    const before = descriptors();
    for (let i = 0; i < 4; i++) await round(120);
    assert.ok(descriptors() <= before + 2 * 2 * 16, `${before} descriptors became ${descriptors()}`);
    await rig.relay.close();
    assert.ok(descriptors() < before, 'pipes, listeners and loops are closed with the relay');
  }));

test('an exception costs the one connection that met it, which is let go at once (reliability 68)', { timeout: 60_000 }, () => {
  const good = (port: number): ServiceView[] => [...viewsOf([endpointAt(port)])];
  return withRig('linux', {}, async (rig) => {
    const started = threads.length;
    const [view] = good(rig.backend.port);
    assert.ok(view !== undefined);
    rig.snapshots.set({ ...view, endpoints: [{ ...endpointAt(rig.backend.port), ports: null }] } as unknown as ServiceView);
    const client = await rig.connect();
    await client.write(HELLO);
    assert.equal(await client.closed(), 'ECONNRESET');
    await until('it to be let go', () => rig.relay.connections === 0);
    rig.snapshots.set(...good(rig.backend.port));
    // The worker may meet the next connection before it hears of the change.
    while (rig.backend.peers.length === 0) {
      const next = await rig.connect();
      await next.write(HELLO);
      await until('what becomes of it', () => next.socket.closed || rig.backend.peers.length > 0);
    }
    assert.equal(threads.length, started);
  });
});

test('a reset reaches a connection whose other side takes nothing: it is let go at once, not after the idle limit', { timeout: 60_000 }, () =>
  withRig('linux', {}, async (rig) => {
    const { client, server } = await rig.open();
    client.socket.pause();
    const piece = Buffer.alloc(65_536);
    while (server.socket.writableLength < 4 * piece.length) {
      server.socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    server.socket.resetAndDestroy();
    await rig.counts('isthmus_gateway_connections_total{service="shop/payments",end="reset"} 1');
  }));

test('a connection that was still being dialled when its endpoint left the snapshot is drained like the others', { timeout: 60_000 }, () =>
  withRig('linux', { over: { limits: { departedMs: 100 } } }, async (rig) => {
    // Many at once, so that some are between pick and connect when the change comes.
    const clients = await Promise.all(Array.from({ length: 40 }, () => rig.connect()));
    for (const client of clients) client.socket.write(HELLO);
    rig.snapshots.set(...viewsOf([]));
    await until('all to be let go', () => clients.every(({ socket, hasEnded }) => socket.closed || hasEnded));
    await until('the relay lets go', () => rig.relay.connections === 0);
  }));

test('a read cut short by an urgent byte is no end: what stands behind it arrives, however soon the connection ends', { timeout: 60_000 }, () =>
  withRig('linux', {}, async (rig) => {
    const MSG_OOB = 1;
    const half = Buffer.alloc(1_000, 'x');
    for (let i = 0; i < 30; i++) {
      const fd = libc.openSocket(libc.AF_INET);
      const address = socketAddress('127.0.0.1', rig.relay.port);
      assert.ok(address !== undefined);
      libc.connect(fd, address.bytes, address.bytes.length);
      const before = rig.backend.peers.length;
      while (libc.send(fd, HELLO, HELLO.length, libc.MSG_NOSIGNAL) < 0) await new Promise((resolve) => setImmediate(resolve));
      const server = await rig.backend.peer(before);
      await server.hasReceived(HELLO.length);
      // All of it before the worker looks, most of the time.
      libc.send(fd, half, half.length, libc.MSG_NOSIGNAL);
      libc.send(fd, Buffer.from('!'), 1, libc.MSG_NOSIGNAL | MSG_OOB);
      libc.send(fd, half, half.length, libc.MSG_NOSIGNAL);
      libc.shutdown(fd, libc.SHUT_WR);
      await server.isEnded();
      assert.equal(server.receivedBytes, HELLO.length + 2 * half.length);
      libc.close(fd);
    }
  }));
