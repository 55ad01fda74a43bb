// A service that asks its gateway for layer 7: requests of one caller spread over the instances behind it, across clusters.
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { after, before, test } from 'node:test';
import { LEDGER, names, outboundOf, PAYMENTS, portNames, request, smallTopology, startFederation, startLoad, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'west-1', 'west-2']) });
}, { timeout: 90_000 });
after(() => mesh.close());

const GATEWAY = /By=spiffe:\/\/west\.demo\.isthmus\.example\/gateway;/;
const CALLER = /URI=spiffe:\/\/east\.demo\.isthmus\.example\/ns\/shop\/svc\/web/;

/** Who answers, and what was said of the caller, in so many requests one after the other on one connection. */
async function ask(count: number): Promise<{ readonly instances: ReadonlySet<string>; readonly callers: ReadonlySet<string>; readonly failures: readonly string[] }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const instances = new Set<string>();
  const callers = new Set<string>();
  const failures: string[] = [];
  for (let i = 0; i < count; i++) {
    const outcome = await request(outboundOf(mesh.federation, 'vm-1', PAYMENTS), '/', agent);
    if (!outcome.ok) failures.push(outcome.why);
    else {
      instances.add(outcome.instance);
      callers.add(outcome.caller ?? '');
    }
  }
  agent.destroy();
  return { instances, callers, failures };
}

test('without asking, one connection stays with one instance, and the caller comes alone', { timeout: 60_000 }, async () => {
  const { instances, callers, failures } = await ask(40);
  assert.deepEqual(failures, []);
  assert.equal(instances.size, 1);
  for (const caller of callers) {
    assert.match(caller, CALLER);
    assert.doesNotMatch(caller, GATEWAY);
  }
});

test('once it asks, requests spread over both instances, each told who really calls, and none fails on the way there', { timeout: 60_000 }, async () => {
  await mesh.federation.admin('west').apply({ kind: 'export', ...PAYMENTS, consumers: 'all', gateway: { layer: 7 } });
  const failures: string[] = [];
  const seen = await waitFor('requests by way of layer 7', 30_000, async () => {
    const asked = await ask(40);
    failures.push(...asked.failures);
    return asked.callers.size > 0 && [...asked.callers].every((caller) => GATEWAY.test(caller)) ? asked : undefined;
  });
  assert.deepEqual(failures, []);
  assert.equal(seen.instances.size, 2);
  for (const caller of seen.callers) assert.match(caller, CALLER);
});

test('a service that does not ask stays at layer 4 at the same gateway', { timeout: 60_000 }, async () => {
  const outcome = await request(outboundOf(mesh.federation, 'vm-1', LEDGER));
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.why);
  assert.doesNotMatch(outcome.caller ?? '', GATEWAY);
});

test('an instance killed under load costs no request', { timeout: 120_000 }, async (t) => {
  const load = startLoad(outboundOf(mesh.federation, 'vm-1', PAYMENTS), { clients: 4, pauseMs: 5 });
  t.after(() => load.stop());
  const enough = (more: number): Promise<unknown> => {
    const target = load.facts().requests + more;
    return waitFor(`${more} more requests`, 40_000, () => (load.facts().requests >= target ? true : undefined));
  };
  await enough(100);
  await mesh.supervisor.stop('west-1');
  await enough(200);
  await load.stop();
  assert.deepEqual(load.facts().failures, []);
  await mesh.supervisor.restart('west-1');
});

test('requests at the gateway are counted by service', { timeout: 30_000 }, async () => {
  const text = await (await fetch(`http://127.0.0.1:${mesh.federation.port(portNames.health(names.gateway('west')))}/metrics`)).text();
  assert.match(text, /isthmus_outbound_requests_total\{[^}]*service="shop\/payments"[^}]*\} \d+/);
});
