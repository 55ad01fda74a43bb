// Row 66: a SIGTERM under load costs no request, whichever process gets it; nor does an upgrade, for which gateway and agent hand over to their successors.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LEDGER, names, outboundOf, type Outcome, PAYMENTS, request, startFederation, startLoad, smallTopology, type TestFederation, waitFor } from '@isthmus/harness';

const LIMIT_MS = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-hand-over-'));
const pidFile = (name: string): string => join(directory, `${name}.pid`);
const pidOf = (name: string): number => Number(readFileSync(pidFile(name), 'utf8'));
let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({
    topology: smallTopology(['east-1', 'east-2', 'vm-1', 'west-2']),
    settings: (name) => (/gateway|^vm-1|^west-2/.test(name) ? { pidFile: pidFile(name), handOverDrainMs: 8_000 } : {}),
  });
}, { timeout: 180_000 });
after(async () => {
  await mesh.close();
  rmSync(directory, { recursive: true, force: true });
});

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

// One way from vm-1 to ledger: its own agent, west's gateway, the one agent beside it. Whoever fails is seen.
for (const name of [names.gateway('west'), 'vm-1', 'west-2']) {
  test(`${name} hands over to its successor under traffic: no request fails, old connections or new, and one under way is answered`, { timeout: 240_000 }, async (t) => {
    const ledger = outboundOf(mesh.federation, 'vm-1', LEDGER);
    const kept = startLoad(ledger, { clients: 4, pauseMs: 5 });
    t.after(() => kept.stop());
    const failures: string[] = [];
    let asked = 0;
    let isAsking = true;
    const asking = (async () => {
      while (isAsking) {
        const outcome = await request(ledger);
        asked += 1;
        if (!outcome.ok) failures.push(outcome.why);
      }
    })();
    t.after(() => (isAsking = false));
    const both = async (more: number): Promise<void> => {
      const [target, newTarget] = [kept.facts().requests + more, asked + more / 4];
      await waitFor(`${more} more requests`, LIMIT_MS, () => (kept.facts().requests >= target && asked >= newTarget ? true : undefined));
    };
    await both(200);
    const before = pidOf(name);
    const slow: Promise<Outcome> = request(ledger, '/?delayMs=2000');
    process.kill(before, 'SIGUSR2');
    await waitFor('the successor to serve', LIMIT_MS, () => (pidOf(name) === before ? undefined : true)).catch((error: unknown) => {
      throw new Error(`${name} was not handed over:\n${mesh.log(name, 20)}`, { cause: error });
    });
    await both(200);
    await waitFor('the predecessor to end', LIMIT_MS, () => (existsSync(`/proc/${before}`) ? undefined : true));
    await both(200);
    isAsking = false;
    await asking;
    await kept.stop();
    assert.deepEqual(kept.facts().failures, [], `of ${kept.facts().requests} on connections that were kept`);
    assert.deepEqual(failures, [], `of ${asked} on new connections`);
    const answered = await slow;
    assert.equal(answered.ok, true, answered.ok ? '' : answered.why);
    const status = await mesh.federation.proxy(name).status();
    assert.equal(status['connected'], true, 'the control plane hears the successor');
    t.diagnostic(`0 of ${kept.facts().requests + asked} requests failed, longest gap ${Math.round(kept.facts().longestGapMs)} ms`);
  });
}

async function enough(load: ReturnType<typeof startLoad>, more: number): Promise<void> {
  const target = load.facts().requests + more;
  await waitFor(`${more} more requests`, 20_000, () => (load.facts().requests >= target ? true : undefined));
}
