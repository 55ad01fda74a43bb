// A cluster that was taken over is fenced in one command at the trust root: nothing it signed counts anywhere, and what is open to it is closed.
import assert from 'node:assert/strict';
import { connect, type ClientHttp2Stream } from 'node:http2';
import { after, before, test } from 'node:test';
import { isthmus, LEDGER, names, outboundOf, PAYMENTS, request, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-1', 'west-2']) });
  await waitFor('ledger to answer vm-1', 60_000, async () => ((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok ? true : undefined), 100);
}, { timeout: 180_000 });
after(() => mesh.close());

function openStream(): ClientHttp2Stream {
  const { host, port } = outboundOf(mesh.federation, 'vm-1', LEDGER);
  const session = connect(`http://${host}:${port}`);
  session.on('error', () => undefined);
  const stream = session.request({ ':path': '/?delayMs=600000', ':authority': 'ledger.shop.svc.clusterset.local' });
  stream.on('error', () => undefined);
  stream.resume(); // one that is not read never closes
  return stream;
}

test('fencing west empties its bundle everywhere, takes its endpoints, and closes what is open to it; east goes on', { timeout: 150_000 }, async () => {
  const to = outboundOf(mesh.federation, 'vm-1', LEDGER);
  const stream = openStream();
  await waitFor('requests to reach west', 20_000, async () => ((await request(to)).ok ? true : undefined), 50);
  let status: unknown;
  stream.once('response', (headers) => (status = headers[':status']));
  const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()));
  assert.equal(stream.closed, false);
  const trustRoot = mesh.paths.socket(names.trustRoot);
  const fenced = await isthmus(['cluster', 'fence', 'west', '--reason', 'its control plane was taken over', '--socket', trustRoot], { limitMs: 120_000 });
  assert.equal(fenced.code, 0, fenced.stderr);
  await closed;
  assert.notEqual(status, 200, 'it was cut off, not answered');
  await waitFor('east to call west fenced', 20_000, async () => {
    const peer = (await mesh.federation.admin('east').list('peer')).find((p) => p['cluster'] === 'west');
    return peer?.['state'] === 'fenced' ? true : undefined;
  }, 50);
  await waitFor('ledger, which only west has, to be gone', 20_000, async () => ((await request(to)).ok ? undefined : true), 50);
  const payments = await waitFor('payments to answer from east', 20_000, async () => {
    const outcome = await request(outboundOf(mesh.federation, 'vm-1', PAYMENTS));
    return outcome.ok ? outcome : undefined;
  }, 50);
  assert.equal(payments.cluster, 'east');
  const log = await isthmus(['trust', 'log', '--kind', 'cluster-fenced', '--socket', trustRoot], { limitMs: 120_000 });
  assert.match(log.stdout, /cluster-fenced +cluster=west .*reason=its control plane was taken over/);
  const verified = await isthmus(['trust', 'verify-log', `${mesh.paths.state(names.trustRoot)}/transparency.log`], { limitMs: 120_000 });
  assert.equal(verified.code, 0, verified.stderr);
  assert.match(verified.stdout, /^OK: \d+ records of demo\.isthmus\.example/);
});
