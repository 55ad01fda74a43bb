// Row 69: a process that stood still says so: not ready for a while, and counted.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { names, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { metricsOf, readiness } from './gateway-process.ts';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

for (const name of [names.gateway('east'), 'east-1']) {
  test(`${name} that stood still for two seconds is not ready at first, counts the stall, and recovers`, { timeout: 60_000 }, async (t) => {
    assert.equal(await readiness(mesh.federation, name), 'ready');
    const child = mesh.supervisor.get(name);
    t.after(() => child.signal('SIGCONT'));
    child.signal('SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    child.signal('SIGCONT');
    assert.equal(await readiness(mesh.federation, name), 'not ready: event-loop');
    assert.match(await metricsOf(mesh.federation, name), /^isthmus_event_loop_stalls_total [1-9]/m);
    await waitFor('it to be ready again', 30_000, async () => ((await readiness(mesh.federation, name)) === 'ready' ? true : undefined));
  });
}
