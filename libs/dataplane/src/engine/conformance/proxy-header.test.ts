import assert from 'node:assert/strict';
import { ipBytes, type IpPort } from '../ip-address.ts';
import { crc32c } from '../crc32c.ts';
import { readProxyHeader, writeProxyHeader } from '../proxy-protocol.ts';
import { helloBytes } from './hello-bytes.ts';
import { Backend, HELLO, onEachEngine, type Peer, type RigOptions, until, withRig } from './rig.ts';

const at = (address: string, port: number): IpPort => ({ ip: ipBytes(address) ?? Buffer.alloc(0), port });
const SOURCE = at('203.0.113.9', 50_123);
const DESTINATION = at('198.51.100.1', 443);
const HEADER = writeProxyHeader(SOURCE, DESTINATION);
const LOCAL = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
const LOOPBACK = ['127.0.0.0/8'];

const accepting = (acceptFrom: readonly string[], send = false): RigOptions => ({ over: { proxyProtocol: { acceptFrom, send } } });

/** The addresses an endpoint was told, and what came after them. */
async function told(server: Peer, sizeBytes: number): Promise<{ readonly source: IpPort; readonly destination: IpPort; readonly rest: Buffer }> {
  const bytes = await server.hasReceived(sizeBytes);
  const header = readProxyHeader(bytes);
  assert.ok(header.kind === 'header' && header.addresses !== undefined);
  return { ...header.addresses, rest: bytes.subarray(header.sizeBytes) };
}

for (const [what, header] of [
  ['a header', HEADER],
  ['an IPv6 header', writeProxyHeader(at('2001:db8::9', 1), at('2001:db8::1', 2))],
  ['a LOCAL header', LOCAL],
] as const) {
  onEachEngine(`${what} from a peer that must send one is taken off, whole or byte by byte`, (engine) =>
    withRig(engine, accepting(LOOPBACK), async (rig) => {
      const whole = await rig.connect();
      await whole.write(Buffer.concat([header, HELLO]));
      assert.deepEqual(await (await rig.backend.peer(0)).hasReceived(HELLO.length), HELLO);
      const slow = await rig.connect();
      for (const byte of Buffer.concat([header, HELLO.subarray(0, 20)])) await slow.write(Buffer.from([byte]));
      await slow.write(HELLO.subarray(20));
      assert.deepEqual(await (await rig.backend.peer(1)).hasReceived(HELLO.length), HELLO);
    }));
}

onEachEngine('bytes of a PROXY header are not counted as relayed', (engine) =>
  withRig(engine, accepting(LOOPBACK), async (rig) => {
    const client = await rig.connect();
    await client.write(Buffer.concat([HEADER, HELLO]));
    const server = await rig.backend.peer();
    await server.hasReceived(HELLO.length);
    client.socket.end();
    server.socket.end();
    await client.isEnded();
    await until('the relay lets go', () => rig.relay.connections === 0);
    await rig.closesWith(`isthmus_gateway_bytes_total{service="shop/payments",endpoint="east/${rig.backend.port}",direction="in"} ${HELLO.length}`);
  }));

const wrongSum = Buffer.concat([HEADER.subarray(0, 14), Buffer.from([0, 19]), HEADER.subarray(16), Buffer.from([3, 0, 4, 1, 2, 3, 4])]);
const rightSum = Buffer.from(wrongSum);
rightSum.writeUInt32BE(0, 31);
rightSum.writeUInt32BE(crc32c(rightSum), 31);

for (const [what, bytes] of [
  ['a hello without a header', HELLO],
  ['a version 1 header', Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n')],
  ['a header with a wrong checksum', Buffer.concat([wrongSum, HELLO])],
  ['a header of 64 KiB', Buffer.concat([HEADER.subarray(0, 14), Buffer.from([0xff, 0xff]), Buffer.alloc(3_000)])],
] as const) {
  onEachEngine(`${what} from a peer that must send one is closed and counted`, (engine) =>
    withRig(engine, accepting(LOOPBACK), async (rig) => {
      const client = await rig.connect();
      await client.write(bytes);
      await client.isLetGo();
      assert.equal(rig.backend.peers.length, 0);
      await rig.closesWith('isthmus_gateway_refused_total{reason="proxy-protocol"} 1');
    }));
}

onEachEngine('a checksum that holds is taken', (engine) =>
  withRig(engine, accepting(LOOPBACK), async (rig) => {
    const client = await rig.connect();
    await client.write(Buffer.concat([rightSum, HELLO]));
    await (await rig.backend.peer()).hasReceived(HELLO.length);
  }));

onEachEngine('two headers one after the other are refused', (engine) =>
  withRig(engine, accepting(LOOPBACK), async (rig) => {
    const client = await rig.connect();
    await client.write(Buffer.concat([HEADER, HEADER, HELLO]));
    await client.isLetGo();
    await rig.closesWith('isthmus_gateway_refused_total{reason="not-tls"} 1');
  }));

onEachEngine('a header from a peer outside the ranges is refused, and its hello alone is led', (engine) =>
  withRig(engine, accepting(['10.0.0.0/8', '::/0']), async (rig) => {
    const client = await rig.connect();
    await client.write(Buffer.concat([HEADER, HELLO]));
    await client.isLetGo();
    await rig.open();
    await rig.closesWith('isthmus_gateway_refused_total{reason="not-tls"} 1');
  }));

onEachEngine('a peer that must send a header and is slow with it is closed after the hello limit', (engine) =>
  withRig(engine, { over: { proxyProtocol: { acceptFrom: LOOPBACK, send: false }, limits: { helloMs: 100 } } }, async (rig) => {
    const client = await rig.connect();
    await client.write(HEADER.subarray(0, 20));
    await client.isLetGo();
    await rig.closesWith('isthmus_gateway_refused_total{reason="hello-timeout"} 1');
  }));

onEachEngine('where it is configured an endpoint is told the caller’s address before the hello', (engine) =>
  withRig(engine, accepting([], true), async (rig) => {
    const client = await rig.connect();
    await client.write(HELLO);
    const { source, destination, rest } = await told(await rig.backend.peer(), 28 + HELLO.length);
    assert.deepEqual(source, at('127.0.0.1', client.socket.localPort ?? 0));
    assert.deepEqual(destination, at('127.0.0.1', rig.relay.port));
    assert.deepEqual(rest, HELLO);
  }));

onEachEngine('the address a load balancer gave is passed on, with LOCAL its own', (engine) =>
  withRig(engine, accepting(LOOPBACK, true), async (rig) => {
    const client = await rig.connect();
    await client.write(Buffer.concat([HEADER, HELLO]));
    const passedOn = await told(await rig.backend.peer(0), 28 + HELLO.length);
    assert.deepEqual([passedOn.source, passedOn.destination, passedOn.rest], [SOURCE, DESTINATION, HELLO]);
    const local = await rig.connect();
    await local.write(Buffer.concat([LOCAL, HELLO]));
    const { source } = await told(await rig.backend.peer(1), 28 + HELLO.length);
    assert.deepEqual(source, at('127.0.0.1', local.socket.localPort ?? 0));
  }));

onEachEngine('what stands behind a reserved name is never told by a header', async (engine) => {
  const store = await new Backend().listen();
  const hello = helloBytes({ names: ['store.isthmus.east.acme.example'] });
  await withRig(engine, { over: { proxyProtocol: { acceptFrom: [], send: true }, reserved: { store: `127.0.0.1:${store.port}` } } }, async (rig) => {
    const client = await rig.connect();
    await client.write(hello);
    assert.deepEqual(await (await store.peer()).hasReceived(hello.length), hello);
  });
  store.close();
});
