// Row 48 across processes: a ban in one cluster, or the fencing of a whole one, is in force everywhere within seconds, and open connections do not outlive it.
import assert from 'node:assert/strict';
import { connect, type ClientHttp2Stream } from 'node:http2';
import { after, before, test } from 'node:test';
import { isthmus, LEDGER, names, outboundOf, PAYMENTS, request, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-1', 'west-2']) });
  await waitFor('ledger to answer vm-1', 30_000, async () => ((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok ? true : undefined), 100);
}, { timeout: 180_000 });
after(() => mesh.close());

const cli = async (cluster: string, ...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await isthmus([...args, '--socket', mesh.paths.socket(names.controlPlane(cluster))], { limitMs: 120_000 });
  assert.equal(code, 0, stderr);
  return stdout;
};

/** A request whose answer is still to come. */
function openStream(agent: string): ClientHttp2Stream {
  const { host, port } = outboundOf(mesh.federation, agent, LEDGER);
  const session = connect(`http://${host}:${port}`);
  session.on('error', () => undefined);
  const stream = session.request({ ':path': '/?delayMs=600000', ':authority': 'ledger.shop.svc.clusterset.local' });
  stream.on('error', () => undefined);
  stream.resume(); // one that is not read never closes
  return stream;
}

test('a service that is banned in west is called by nobody in east, until it is unbanned', { timeout: 150_000 }, async () => {
  const to = outboundOf(mesh.federation, 'vm-1', LEDGER);
  const startedMs = performance.now();
  await cli('west', 'service', 'ban', 'shop/ledger', '--reason', 'a key was seen elsewhere');
  await waitFor('east to refuse ledger', 20_000, async () => ((await request(to)).ok ? undefined : true), 20);
  process.stdout.write(`# ban of a service in force in the other cluster after ${Math.round(performance.now() - startedMs)} ms, the command among them\n`);
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', PAYMENTS))).ok, true, 'and nothing else');
  assert.match(await cli('west', 'ban', 'list'), /ns\/shop\/svc\/ledger .* in force +a key was seen elsewhere/);
  await cli('west', 'service', 'unban', 'shop/ledger');
  await waitFor('east to call ledger again', 20_000, async () => ((await request(to)).ok ? true : undefined), 20);
});

test('row 48: an agent that is banned in east loses the stream it has open to west, and gets no other', { timeout: 150_000 }, async () => {
  const stream = openStream('vm-1');
  // The ledger counts what it gets: once the one after it is answered, the first is with it.
  await waitFor('requests to reach west', 10_000, async () => ((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok ? true : undefined), 50);
  let status: unknown;
  stream.once('response', (headers) => (status = headers[':status']));
  const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()));
  assert.equal(stream.closed, false);
  const startedMs = performance.now();
  await mesh.federation.admin('east').ban({ kind: 'agent', namespace: '', name: 'vm-1', reason: 'stolen' });
  await closed;
  process.stdout.write(`# open stream to the other cluster closed ${Math.round(performance.now() - startedMs)} ms after the ban was asked for\n`);
  assert.notEqual(status, 200, 'it was cut off, not answered');
  for (const service of [LEDGER, PAYMENTS]) await waitFor(`${service.name} to refuse it`, 20_000, async () => ((await request(outboundOf(mesh.federation, 'vm-1', service))).ok ? undefined : true), 20);
  assert.match(mesh.log('west-2'), /banned/);
  await waitFor('its control plane to be closed to it', 20_000, async () => ((await mesh.federation.proxy('vm-1').status())['connected'] === false ? true : undefined), 50);
  assert.equal((await request(outboundOf(mesh.federation, 'east-1', PAYMENTS))).ok, true, 'another agent of the cluster goes on');
});

// The last one: west does not come back.
test('fencing west empties its bundle everywhere, takes its endpoints, and closes what is open to it; east goes on', { timeout: 150_000 }, async () => {
  const to = outboundOf(mesh.federation, 'east-1', LEDGER);
  const stream = openStream('east-1');
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
    const outcome = await request(outboundOf(mesh.federation, 'east-1', PAYMENTS));
    return outcome.ok ? outcome : undefined;
  }, 50);
  assert.equal(payments.cluster, 'east');
  const log = await isthmus(['trust', 'log', '--kind', 'cluster-fenced', '--socket', trustRoot], { limitMs: 120_000 });
  assert.match(log.stdout, /cluster-fenced +cluster=west .*reason=its control plane was taken over/);
  const verified = await isthmus(['trust', 'verify-log', `${mesh.paths.state(names.trustRoot)}/transparency.log`], { limitMs: 120_000 });
  assert.equal(verified.code, 0, verified.stderr);
  assert.match(verified.stdout, /^OK: \d+ records of demo\.isthmus\.example/);
});
