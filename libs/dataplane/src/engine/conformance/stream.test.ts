import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { endpointAt, HELLO, onEachEngine, type Peer, until, withRig } from './rig.ts';

const MIB = 1_024 * 1_024;
const PATTERN = randomBytes(MIB);
const NOTHING = Buffer.alloc(0);
const SERVICE = 'service="shop/payments"';

function* pieces(sizeBytes: number, pieceBytes: number): Generator<Buffer> {
  for (let sent = 0; sent < sizeBytes; sent += pieceBytes) {
    const at = sent % (PATTERN.length - pieceBytes);
    yield PATTERN.subarray(at, at + Math.min(pieceBytes, sizeBytes - sent));
  }
}

/** Sends pieces of the pattern up to a size as fast as they are taken. */
async function send(socket: Socket, sizeBytes: number, pieceBytes = 65_536): Promise<void> {
  for (const piece of pieces(sizeBytes, pieceBytes)) if (!socket.write(piece)) await once(socket, 'drain');
}

/** The digest of what `send` sends, after what came before. */
function digestOf(before: Buffer, sizeBytes: number, pieceBytes = 65_536): string {
  const hash = createHash('sha256').update(before);
  for (const piece of pieces(sizeBytes, pieceBytes)) hash.update(piece);
  return hash.digest('hex');
}

onEachEngine('streams both ways at once arrive as they were sent, in pieces of any size', (engine) =>
  withRig(engine, {}, async (rig) => {
    await Promise.all(
      [1_000, 7_777, 65_536, 200_000].map(async (pieceBytes, i) => {
        await until('its turn', () => rig.backend.peers.length >= i);
        const client = await rig.connect();
        await client.write(HELLO);
        const server = await rig.backend.peer(i);
        const size = 8 * MIB + i;
        await Promise.all([send(client.socket, size, pieceBytes), send(server.socket, size, pieceBytes)]);
        client.socket.end();
        server.socket.end();
        await Promise.all([client.isEnded(), server.isEnded()]);
        assert.equal(client.digest(), digestOf(NOTHING, size, pieceBytes));
        assert.equal(server.digest(), digestOf(HELLO, size, pieceBytes));
      }),
    );
    await rig.closesWith(`isthmus_gateway_connections_total{${SERVICE},end="complete"} 4`);
  }));

onEachEngine('what the server says first reaches a client that only said hello', (engine) =>
  withRig(engine, { onPeer: (peer) => void peer.write('welcome') }, async (rig) => {
    const { client } = await rig.open();
    assert.equal((await client.hasReceived(7)).toString(), 'welcome');
  }));

onEachEngine('a client that ends still gets all of the answer', (engine) =>
  withRig(engine, {}, async (rig) => {
    const { client, server } = await rig.open();
    client.socket.end('question');
    await server.isEnded();
    assert.equal(server.received.subarray(HELLO.length).toString(), 'question');
    await send(server.socket, 3 * MIB);
    server.socket.end();
    await client.isEnded();
    assert.equal(client.receivedBytes, 3 * MIB);
    assert.equal(client.digest(), digestOf(NOTHING, 3 * MIB));
    await until('the relay lets go', () => rig.relay.connections === 0);
    await rig.closesWith(`isthmus_gateway_connections_total{${SERVICE},end="complete"} 1`);
  }));

onEachEngine('a server that ends first still gets all that the client sends', (engine) =>
  withRig(engine, {}, async (rig) => {
    const { client, server } = await rig.open();
    server.socket.end('goodbye');
    await client.isEnded();
    assert.equal(client.received.toString(), 'goodbye');
    await send(client.socket, 3 * MIB);
    client.socket.end();
    await server.isEnded();
    assert.equal(server.digest(), digestOf(HELLO, 3 * MIB));
  }));

onEachEngine('last words that come together with an end arrive whole, and the other side may go on after them', (engine) =>
  withRig(engine, {}, async (rig) => {
    // From a byte to more than a relay reads at once: what is sent with the end, and what is not.
    for (const size of [1, 64, 1_448, 65_535, 65_536, 70_001]) {
      for (const [side, other] of [['client', 'server'], ['server', 'client']] as const) {
        const before = rig.backend.peers.length;
        const client = await rig.connect();
        await client.write(HELLO);
        const pair = { client, server: await rig.backend.peer(before) };
        await pair.server.hasReceived(HELLO.length);
        const word = Buffer.from('word');
        const said = side === 'client' ? { client: NOTHING, server: Buffer.concat([HELLO, word]) } : { client: word, server: HELLO };
        await pair[side].write(word);
        await pair[other].hasReceived(said[other].length);
        pair[side].socket.end(PATTERN.subarray(0, size));
        await pair[other].isEnded();
        assert.equal(pair[other].digest(), createHash('sha256').update(said[other]).update(PATTERN.subarray(0, size)).digest('hex'));
        await send(pair[other].socket, size + MIB);
        pair[other].socket.end('last');
        await pair[side].isEnded();
        assert.equal(pair[side].receivedBytes, said[side].length + size + MIB + 4);
      }
    }
  }));

onEachEngine('a client that says hello and ends at once still gets its answer', (engine) =>
  withRig(engine, { onPeer: (peer) => peer.socket.once('end', () => peer.socket.end('answer')) }, async (rig) => {
    const client = await rig.connect();
    client.socket.end(HELLO);
    assert.equal((await client.hasReceived(6)).toString(), 'answer');
    await client.isEnded();
  }));

for (const [side, other] of [['client', 'server'], ['server', 'client']] as const) {
  onEachEngine(`a reset by the ${side} is a reset at the ${other}, and counted as one`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const pair = await rig.open();
      await pair.client.write('x');
      await pair.server.hasReceived(HELLO.length + 1);
      pair[side].socket.resetAndDestroy();
      assert.equal(await pair[other].closed(), 'ECONNRESET');
      await until('the relay lets go', () => rig.relay.connections === 0);
      await rig.closesWith(`isthmus_gateway_connections_total{${SERVICE},end="reset"} 1`);
    }));

  onEachEngine(`a reset by the ${side} in the middle of a stream is never a clean end at the ${other}`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const pair = await rig.open();
      void send(pair[side].socket, 64 * MIB).catch(() => undefined);
      await until('some bytes', () => pair[other].receivedBytes > MIB);
      pair[side].socket.resetAndDestroy();
      assert.equal(await pair[other].closed(), 'ECONNRESET');
      assert.equal(pair[other].hasEnded, false);
    }));

  onEachEngine(`a reset by the ${side} after the ${other} has ended its direction reaches the ${other}`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const pair = await rig.open();
      pair[other].socket.end();
      await pair[side].isEnded();
      pair[side].socket.resetAndDestroy();
      assert.equal(await pair[other].closed(), 'ECONNRESET');
      await until('the relay lets go', () => rig.relay.connections === 0);
    }));

  onEachEngine(`a ${side} that does not read holds up the other, in little memory, and then gets 64 MiB whole`, (engine) =>
    withRig(engine, {}, async (rig) => {
      const pair = await rig.open();
      const [reader, writer] = [pair[side], pair[other]];
      reader.socket.pause();
      const rssBefore = process.memoryUsage.rss();
      const sending = send(writer.socket, 64 * MIB);
      const stalledAt = await stalls(writer);
      // How much the system's own buffers hold of it is the system's affair: tens of MiB where tcp_rmem allows that.
      assert.ok(stalledAt < 64 * MIB, `${stalledAt} bytes were taken from the writer`);
      const grownBytes = process.memoryUsage.rss() - rssBefore;
      assert.ok(grownBytes < 48 * MIB, `resident memory grew by ${grownBytes} bytes`);
      reader.socket.resume();
      await sending;
      writer.socket.end();
      await reader.isEnded();
      assert.equal(reader.digest(), digestOf(side === 'server' ? HELLO : NOTHING, 64 * MIB));
    }));
}

/** Bytes the system has taken from a writer once it takes no more for a while. */
async function stalls(writer: Peer): Promise<number> {
  const taken = (): number => writer.socket.bytesWritten - writer.socket.writableLength;
  for (let last = -1; last !== taken(); ) {
    last = taken();
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  return taken();
}

onEachEngine('a connection without a byte either way is reset after the idle limit; one with some is not', (engine) =>
  withRig(engine, { over: { limits: { idleMs: 600 } } }, async (rig) => {
    const idle = await rig.open();
    const busy = await rig.open();
    let sent = 0;
    while (!idle.client.socket.closed) {
      await busy.server.write('.');
      sent += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(await idle.client.closed(), 'ECONNRESET');
    await idle.server.closed();
    await busy.client.hasReceived(sent);
    assert.equal(busy.client.socket.closed, false);
    busy.client.socket.end();
    busy.server.socket.end();
    await until('the relay lets go', () => rig.relay.connections === 0);
    await rig.closesWith(`isthmus_gateway_connections_total{${SERVICE},end="idle"} 1`, `isthmus_gateway_connections_total{${SERVICE},end="complete"} 1`);
  }));

onEachEngine('bytes are in the metrics while a connection is open, and exact when it is over', (engine) =>
  withRig(engine, { endpoints: (port) => [endpointAt(port, { id: 'east/one' })] }, async (rig) => {
    const { client, server } = await rig.open();
    await send(client.socket, 5_000_000);
    await server.hasReceived(HELLO.length + 5_000_000);
    const labels = `${SERVICE},endpoint="east/one"`;
    await rig.counts(`isthmus_gateway_bytes_total{${labels},direction="in"} ${HELLO.length + 5_000_000}`, `isthmus_gateway_endpoint_connections{${labels}} 1`, 'isthmus_gateway_open_connections 1');
    await send(server.socket, 3_000_001);
    await client.hasReceived(3_000_001);
    client.socket.end('12345');
    server.socket.end();
    await Promise.all([client.isEnded(), server.isEnded()]);
    await until('the relay lets go', () => rig.relay.connections === 0);
    await rig.closesWith(
      `isthmus_gateway_bytes_total{${labels},direction="in"} ${HELLO.length + 5_000_005}`,
      `isthmus_gateway_bytes_total{${labels},direction="out"} 3000001`,
      `isthmus_gateway_endpoint_connections{${labels}} 0`,
      `isthmus_gateway_connection_seconds_count{${SERVICE}} 1`,
      'isthmus_gateway_open_connections 0',
    );
  }));
