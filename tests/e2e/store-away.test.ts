// Row 7: the cluster's etcd is gone. Reads come from what is known, writes fail at once with the reason, traffic does not notice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findProgram, isthmus, LEDGER, names, outboundOf, request, smallTopology, startFederation, startLoad, waitFor } from '@isthmus/harness';

const skip = findProgram('etcd') === undefined ? 'no etcd binary on PATH (apt-get install etcd-server)' : false;

test('with etcd gone lists and traffic go on, writes are refused with exit 69, and both recover with it', { skip, timeout: 90_000 }, async (t) => {
  const mesh = await startFederation({ topology: smallTopology(['east-1', 'vm-1', 'west-2']), store: 'etcd' }, t);
  const load = startLoad(outboundOf(mesh.federation, 'vm-1', LEDGER), { clients: 2, pauseMs: 20 });
  t.after(() => load.stop());
  const apply = () => isthmus(['service', 'apply', 'shop/late', '--port', 'http=80/http', '--state', mesh.paths.root]);
  await mesh.supervisor.kill(names.etcd('east'));
  const services = await mesh.federation.admin('east').list('service');
  assert.deepEqual(services.map((s) => s['name']).toSorted(), ['payments', 'vault']);
  const refused = await apply();
  assert.equal(refused.code === 69 || refused.code === 75, true, `${refused.code}: ${refused.stderr}`);
  assert.match(refused.stderr, /store|etcd/i);
  await mesh.supervisor.restart(names.etcd('east'));
  await waitFor('a write to be taken again', 20_000, async () => ((await apply()).code === 0 ? true : undefined), 200);
  assert.equal((await request(outboundOf(mesh.federation, 'vm-1', LEDGER))).ok, true);
  await load.stop();
  assert.deepEqual(load.facts().failures, []);
});
