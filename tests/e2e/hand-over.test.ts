// An upgrade under traffic: a gateway and an agent each start their successor and hand over, and no request fails.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LEDGER, names, outboundOf, type Outcome, request, smallTopology, startFederation, startLoad, type TestFederation, waitFor } from '@isthmus/harness';

const LIMIT_MS = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-hand-over-'));
let mesh: TestFederation;
const pidFile = (name: string): string => join(directory, `${name}.pid`);
const pidOf = (name: string): number => Number(readFileSync(pidFile(name), 'utf8'));

before(async () => {
  // One way from vm-1 to ledger: its own agent, west's gateway, the one agent beside it. Whoever fails is seen.
  mesh = await startFederation({
    topology: smallTopology(['east-1', 'vm-1', 'west-2']),
    settings: (name) => (/gateway|^vm-1|^west-2/.test(name) ? { pidFile: pidFile(name), handOverDrainMs: 20_000 } : {}),
  });
}, { timeout: 180_000 });
after(async () => {
  await mesh?.close();
  rmSync(directory, { recursive: true, force: true });
});

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
    const enough = async (more: number): Promise<void> => {
      const [target, newTarget] = [kept.facts().requests + more, asked + more / 4];
      await waitFor(`${more} more requests`, LIMIT_MS, () => (kept.facts().requests >= target && asked >= newTarget ? true : undefined));
    };
    await enough(200);
    const before = pidOf(name);
    const slow: Promise<Outcome> = request(ledger, '/?delayMs=3000');
    process.kill(before, 'SIGUSR2');
    await waitFor('the successor to serve', LIMIT_MS, () => (pidOf(name) === before ? undefined : true)).catch((error: unknown) => {
      throw new Error(`${name} was not handed over:\n${mesh.log(name, 20)}`, { cause: error });
    });
    await enough(200);
    await waitFor('the predecessor to end', LIMIT_MS, () => (existsSync(`/proc/${before}`) ? undefined : true));
    await enough(200);
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
