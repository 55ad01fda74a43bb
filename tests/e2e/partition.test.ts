// A cluster cut off: known endpoints stay in use, staleness is told with its age, nothing is served as empty, and healing needs no restart.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { clusterOf, LEDGER, names, outboundOf, PAYMENTS, request, smallTopology, startFederation, startLoad, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-1', 'west-2']), links: true });
  // A peer is fresh from its first heartbeat on, which comes some seconds after its exports.
  for (const [cluster, peer] of [['east', 'west'], ['west', 'east']] as const) {
    await waitFor(`${cluster} to call ${peer} fresh`, 30_000, async () => ((await peerOf(cluster, peer))?.['state'] === 'fresh' ? true : undefined), 100);
  }
}, { timeout: 60_000 });
after(() => mesh.close());

const peerOf = async (cluster: string, peer: string) => (await mesh.federation.admin(cluster).list('peer')).find((p) => p['cluster'] === peer);

test('row 1: a peer whose control plane is gone stays in service, marked stale with a growing age', { timeout: 60_000 }, async () => {
  await mesh.supervisor.kill(names.controlPlane('west'));
  const stale = await waitFor('east to call west stale', 30_000, async () => {
    const peer = await peerOf('east', 'west');
    return peer?.['state'] === 'stale' ? peer : undefined;
  }, 200);
  assert.ok(Number(stale['ageMs']) >= 10_000, JSON.stringify(stale));
  const imports = await mesh.federation.admin('east').list('import');
  assert.deepEqual(imports.filter((i) => i['name'] === 'ledger').map((i) => [i['cluster'], i['state']]), [['west', 'stale']]);
  const outcome = await request(outboundOf(mesh.federation, 'vm-1', LEDGER));
  assert.equal(outcome.ok && outcome.cluster, 'west', 'a service that only the stale peer has is still reached');
  await mesh.supervisor.restart(names.controlPlane('west'));
  await waitFor('east to call west fresh again', 20_000, async () => ((await peerOf('east', 'west'))?.['state'] === 'fresh' ? true : undefined), 100);
});

test('rows 1 and 5: with the link cut nothing local is lost, and healing needs no restart', { timeout: 90_000 }, async (t) => {
  const load = startLoad(outboundOf(mesh.federation, 'vm-1', PAYMENTS), { clients: 4, pauseMs: 20 });
  t.after(() => load.stop());
  const link = mesh.links.get('west');
  assert.ok(link);
  link.cut('refuse');
  await waitFor('east to call west stale', 30_000, async () => ((await peerOf('east', 'west'))?.['state'] === 'stale' ? true : undefined), 200);
  assert.equal((await peerOf('west', 'east'))?.['state'], 'fresh', 'west still hears east: each direction is judged by its own evidence');
  const view = await mesh.federation.proxy('vm-1').status();
  assert.equal(view['connected'], true);
  link.heal();
  await waitFor('east to call west fresh again', 20_000, async () => ((await peerOf('east', 'west'))?.['state'] === 'fresh' ? true : undefined), 100);
  await waitFor('ledger to answer across the healed link', 10_000, async () => ((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok ? true : undefined));
  await load.stop();
  const facts = load.facts();
  assert.deepEqual(facts.failures, []);
  assert.deepEqual(Object.keys(facts.byCluster), ['east']);
});

test('rows 2 and 3: with every control plane down requests flow, and a gateway and an agent restarted then serve from their last good snapshot', { timeout: 60_000 }, async () => {
  await Promise.all([mesh.supervisor.kill(names.controlPlane('east')), mesh.supervisor.kill(names.controlPlane('west')), mesh.supervisor.kill(names.trustRoot)]);
  const to = outboundOf(mesh.federation, 'vm-1', LEDGER);
  assert.equal((await request(to)).ok, true);
  const gateway = names.gateway('west');
  await mesh.supervisor.kill(gateway);
  await mesh.supervisor.restart(gateway);
  await waitFor('an answer through the restarted gateway', 10_000, async () => ((await request(to)).ok ? true : undefined));
  await mesh.supervisor.kill('west-2');
  await mesh.supervisor.restart('west-2');
  await waitFor('an answer through the restarted agent', 10_000, async () => ((await request(to)).ok ? true : undefined));
  const status = await mesh.federation.proxy('west-2').status();
  assert.equal(status['connected'], false, 'and it says that it is cut off');
});

test('row 4: a control plane that starts while its peer is down is ready, and still knows what the peer offered', { timeout: 60_000 }, async () => {
  const started = await mesh.supervisor.restart(names.controlPlane('east'));
  assert.equal(started.isRunning(), true);
  const imports = await mesh.federation.admin('east').list('import');
  assert.deepEqual(imports.filter((i) => i['name'] === 'ledger').map((i) => [i['cluster'], Number(i['readyCount']) > 0]), [['west', true]]);
  assert.notEqual((await peerOf('east', 'west'))?.['state'], 'fresh');
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok, true);
  await Promise.all([mesh.supervisor.restart(names.trustRoot), mesh.supervisor.restart(names.controlPlane('west'))]);
  await waitFor('both to hear each other again', 20_000, async () => ((await peerOf('east', 'west'))?.['state'] === 'fresh' && (await peerOf('west', 'east'))?.['state'] === 'fresh' ? true : undefined), 100);
  assert.equal(clusterOf(mesh.topology, 'west').name, 'west');
});
