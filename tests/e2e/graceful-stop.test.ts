// Row 66: a SIGTERM under load costs no request, whichever process gets it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { outboundOf, PAYMENTS, startFederation, startLoad, smallTopology, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1', 'east-2', 'vm-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

for (const name of ['east-2', 'east-payments-1', 'east-control-plane', 'east-gateway']) {
  test(`SIGTERM to ${name} while requests flow: none fails, and none after it is back`, { timeout: 120_000 }, async (t) => {
    const load = startLoad(outboundOf(mesh.federation, 'vm-1', PAYMENTS), { clients: 8, pauseMs: 5 });
    t.after(() => load.stop());
    await enough(load, 200);
    await mesh.supervisor.stop(name);
    await enough(load, 200);
    await mesh.supervisor.restart(name);
    await enough(load, 400);
    await load.stop();
    const facts = load.facts();
    assert.deepEqual(facts.failures, [], `of ${facts.requests}`);
  });
}

async function enough(load: ReturnType<typeof startLoad>, more: number): Promise<void> {
  const target = load.facts().requests + more;
  await waitFor(`${more} more requests`, 20_000, () => (load.facts().requests >= target ? true : undefined));
}
