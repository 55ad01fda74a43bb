// Rows 34 and 36 on real processes: the root is replaced under traffic while processes are killed, and revoked in seconds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { names, openTrustTraffic, smallTopology, startFederation, type TestFederation, type TrustTraffic, waitFor } from '@isthmus/harness';
import type { RotationDocument } from '@isthmus/identity';

const LIMIT_MS = 60_000;
const SETTLED = 10;
let mesh: TestFederation;
let traffic: TrustTraffic | undefined;

before(async () => {
  mesh = await startFederation({ topology: smallTopology(['east-1', 'west-2', 'vm-1']) });
  traffic = await openTrustTraffic(mesh.federation);
  await traffic.settle(SETTLED);
}, { timeout: 120_000 });
after(async () => {
  await traffic?.stop();
  await mesh.close();
});

const root = () => mesh.federation.trustRootAdmin();

function atStep(step: string): Promise<RotationDocument> {
  return waitFor(`the rotation to come to ${step}`, LIMIT_MS, async () => {
    const document = await root().rotation();
    if (document.rotation?.step === step) return document;
    throw new Error(JSON.stringify(document.rotation));
  });
}

const resume = (holdBefore: string) => waitFor('the trust root to take the word', LIMIT_MS, () => root().rotate({ action: 'resume', holdBefore }));

const flowing = (): TrustTraffic => {
  assert.ok(traffic);
  return traffic;
};

test('a rotation under traffic, with kill -9 of the trust root, a control plane, a gateway and an agent, loses no request', { timeout: 240_000 }, async () => {
  const [before] = (await root().rotation()).roots;
  flowing().mark();
  await root().rotate({ action: 'begin', holdBefore: 'distribute' });
  await atStep('distribute');
  for (const [next, killed] of [['prove', names.trustRoot], ['switch', names.controlPlane('east')], ['prove-unused', names.gateway('west')], ['retire', 'east-1']] as const) {
    await resume(next);
    await flowing().killAndRestart(killed);
    const { clusters } = await atStep(next);
    if (next === 'switch') assert.deepEqual(clusters.map((c) => c.acknowledged - c.processes), [0, 0], 'everybody acknowledged before anything is signed');
    if (next === 'retire') assert.deepEqual(clusters.map((c) => c.onOldRoot + c.unheard), [0, 0], 'nobody hangs on the old root');
  }
  await resume('');
  const done = await atStep('done');
  await flowing().settle(SETTLED);
  assert.deepEqual(done.rotation?.cutOff, []);
  assert.equal(done.roots.length, 1);
  assert.notEqual(done.roots[0]?.sha256, before?.sha256);
  const { requests, failures } = flowing().facts();
  assert.deepEqual(failures, []);
  assert.ok(requests > 0);
});

test('a compromised root is out of every bundle in seconds, and traffic goes on under the new one', { timeout: 120_000 }, async () => {
  const [before] = (await root().rotation()).roots;
  await root().rotate({ action: 'begin', compromised: true });
  const done = await atStep('done');
  assert.deepEqual(done.roots.map((r) => r.state), ['signing', 'revoked']);
  assert.equal(done.roots[1]?.sha256, before?.sha256);
  assert.deepEqual(done.rotation?.cutOff, []);
  await waitFor('one root in every bundle', LIMIT_MS, async () => ((await root().federation()).bundles.every((b) => b.x509Authorities.length === 1) ? true : undefined));
  await flowing().settle(SETTLED);
});
