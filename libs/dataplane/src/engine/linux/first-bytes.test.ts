import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import * as libc from '../../transport/linux/libc.ts';
import { socketAddress } from '../../transport/linux/socket-address.ts';
import { helloBytes } from '../conformance/hello-bytes.ts';
import { HELLO, NAME } from '../conformance/rig.ts';
import { FirstBytes, type FirstBytesResult } from './first-bytes.ts';
import { HELLO_ROOM_BYTES, HelloRooms } from './hello-rooms.ts';
import type { Side } from './relay-stream.ts';

const onLinux = { skip: process.platform === 'linux' ? false : 'the engine is for Linux', timeout: 60_000 };

/** A socket as the loop has them, and its other end. */
async function withSocket(use: (side: Side, peer: Socket) => Promise<void>): Promise<void> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = socketAddress('127.0.0.1', (server.address() as AddressInfo).port);
  assert.ok(address !== undefined);
  const fd = libc.openSocket(libc.AF_INET);
  libc.connect(fd, address.bytes, address.bytes.length);
  const [peer] = (await once(server, 'connection')) as [Socket];
  try {
    await use({ fd, readable: true, writable: true, peerEnded: false, sawUrgent: false, delays: false }, peer);
  } finally {
    libc.close(fd);
    peer.destroy();
    server.close();
  }
}

/** Looks again until something is known. */
async function known(first: FirstBytes, side: Side): Promise<FirstBytesResult> {
  for (;;) {
    side.readable = true;
    const result = first.read(side);
    if (result.kind !== 'need-more') return result;
    assert.equal(side.readable, false, 'what is not whole was read to the last byte');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const [what, hello] of [['of usual size', HELLO], ['larger than a room', helloBytes({ names: [NAME], padTo: HELLO_ROOM_BYTES + 500 })]] as const) {
  test(`a hello ${what} goes on as it came, whole or in pieces, and its room comes back`, onLinux, async () => {
    for (const cutAt of [0, 3, hello.length - 1]) {
      const rooms = new HelloRooms();
      const room = rooms.take();
      rooms.giveBack(room);
      await withSocket(async (side, peer) => {
        peer.setNoDelay(true);
        const first = new FirstBytes(rooms, false);
        peer.write(hello.subarray(0, cutAt));
        // Until the beginning has been met by itself.
        while (first.sizeBytes < cutAt) {
          side.readable = true;
          first.read(side);
          await new Promise((resolve) => setImmediate(resolve));
        }
        peer.write(hello.subarray(cutAt));
        assert.deepEqual(await known(first, side), { kind: 'hello', serverName: NAME });
        assert.equal(first.sizeBytes, hello.length);
        const echoed: Buffer[] = [];
        peer.on('data', (chunk: Buffer) => echoed.push(chunk));
        const rest = first.sendTo(side.fd);
        libc.send(side.fd, rest, rest.length, libc.MSG_NOSIGNAL);
        libc.shutdown(side.fd, libc.SHUT_WR);
        await once(peer, 'end');
        assert.deepEqual(Buffer.concat(echoed), hello);
        assert.equal(rooms.take(), room);
        assert.notEqual(rooms.take(), room, 'given back once only');
      });
    }
  });
}

test('a hello that the endpoint does not take is left to be sent, apart from the room', onLinux, () =>
  withSocket(async (side, peer) => {
    const rooms = new HelloRooms();
    const first = new FirstBytes(rooms, false);
    peer.write(HELLO);
    await known(first, side);
    const rest = first.sendTo(-1);
    rooms.take().bytes.fill(0);
    assert.deepEqual(rest, HELLO);
  }));

test('an end before a hello is named, a fault is not', onLinux, async () => {
  await withSocket(async (side, peer) => {
    peer.end();
    assert.deepEqual(await known(new FirstBytes(new HelloRooms(), false), side), { kind: 'refused', reason: 'no-hello' });
  });
  await withSocket(async (side, peer) => {
    peer.end(HELLO.subarray(0, 100));
    assert.deepEqual(await known(new FirstBytes(new HelloRooms(), false), side), { kind: 'refused', reason: 'malformed' });
  });
  await withSocket(async (side, peer) => {
    peer.resetAndDestroy();
    assert.deepEqual(await known(new FirstBytes(new HelloRooms(), false), side), { kind: 'gone' });
  });
});
