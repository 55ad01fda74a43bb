import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endpointAt, HELLO, until, withRig } from '../conformance/rig.ts';

test('an exception in a callback costs one connection; the gateway lives and holds nothing of it (reliability 68)', async () => {
  let isBroken = true;
  const random = (): number => {
    if (isBroken) throw new Error('a bug');
    return 0;
  };
  // With two endpoints to choose from, chance is asked.
  const endpoints = (port: number) => [endpointAt(port, { id: 'one' }), endpointAt(port, { id: 'two' })];
  await withRig('portable', { endpoints, over: { random } }, async (rig) => {
    const lost = await rig.connect();
    await lost.write(HELLO);
    await lost.isLetGo();
    isBroken = false;
    const { client, server } = await rig.open();
    client.socket.end();
    server.socket.end();
    await until('the relay lets go', () => rig.relay.connections === 0);
  });
});

test('a relay that cannot listen holds nothing on to its snapshots', async () => {
  await withRig('portable', {}, async (rig) => {
    const port = rig.relay.port;
    await assert.rejects(withRig('portable', { over: { listen: { host: '127.0.0.1', port } } }, () => Promise.resolve()), { code: 'DATAPLANE_LISTEN_FAILED' });
    await rig.open();
  });
});
