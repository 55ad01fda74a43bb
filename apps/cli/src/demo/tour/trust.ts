// The trust tour: the root is replaced under traffic while every process is killed once, rolled back, and revoked at once.
import { existsSync } from 'node:fs';
import type { RotationDocument } from '@isthmus/identity';
import { systemClock } from '@isthmus/runtime';
import { waitFor } from '../supervisor.ts';
import { names } from '../topology.ts';
import { ms, need } from './step.ts';
import { walkStart } from './start-step.ts';
import { openTrustTraffic, type TrustTraffic } from './trust-traffic.ts';
import type { Walk } from './tours.ts';

const STEP_LIMIT_MS = 60_000;
/** Longer than proxies leave connections of a root that has gone. */
const OLD_CONNECTIONS_MS = 35_000;
/** Answers each kind of traffic must give in a row before the next thing is done. */
const SETTLED = 20;

type Phase = { readonly step: string; readonly next: string; readonly kills: readonly string[] };

/** Every process once, the trust root at each of its writing steps. */
const PHASES: readonly Phase[] = [
  { step: 'distribute', next: 'prove', kills: [names.trustRoot] },
  { step: 'prove', next: 'switch', kills: [names.controlPlane('east'), 'vm-1'] },
  { step: 'switch', next: 'reissue', kills: [names.trustRoot, names.controlPlane('west')] },
  { step: 'reissue', next: 'prove-unused', kills: [names.gateway('west'), 'east-1'] },
  { step: 'prove-unused', next: 'retire', kills: [names.gateway('east'), 'west-1', 'east-2'] },
  { step: 'retire', next: '', kills: ['west-2', names.trustRoot] },
];

/** Walks it; the federation hangs on its fourth root at the end. */
export async function walkTrust(walk: Walk): Promise<void> {
  if (!(await walkStart(walk))) return;
  const traffic = await openTrustTraffic(walk.federation);
  try {
    if (!(await walkRotation(walk, traffic))) return;
    await walkAfterwards(walk, traffic);
    await walkRollback(walk, traffic);
    await walkCompromise(walk, traffic);
  } finally {
    await traffic.stop();
  }
}

async function walkRotation(walk: Walk, traffic: TrustTraffic): Promise<boolean> {
  const { federation, record } = walk;
  const root = federation.trustRootAdmin();
  const before = await root.rotation();
  const startedMonotonicMs = systemClock.monotonicMs();
  let kills = 0;
  const began = await record.step('rotation-begins', async () => {
    await traffic.settle(SETTLED);
    traffic.mark();
    await root.rotate({ action: 'begin', holdBefore: 'distribute' });
    await atStep(walk, 'distribute');
    return { detail: `a new root is made beside ${short(before)}; nobody trusts it yet` };
  });
  if (!began) return false;
  for (const phase of PHASES) {
    const held = await record.step(`rotation-${phase.step}`, async () => {
      await waitFor('the trust root to take the word', STEP_LIMIT_MS, () => root.rotate({ action: 'resume', holdBefore: phase.next }));
      const stepMonotonicMs = systemClock.monotonicMs();
      // All at once, while the step is being done: what a power cut takes.
      await Promise.all(phase.kills.map((name) => traffic.killAndRestart(name)));
      kills += phase.kills.length;
      const document = await atStep(walk, phase.next === '' ? 'done' : phase.next);
      const tookMs = systemClock.monotonicMs() - stepMonotonicMs;
      await traffic.settle(SETTLED);
      const facts = traffic.facts();
      need(facts.failures.length === 0, `${facts.failures.length} of ${facts.requests} requests failed, the first: ${facts.failures[0] ?? ''}`);
      const clusters = document.clusters.map((c) => `${c.cluster} ${phase.next === 'switch' ? `${c.acknowledged} of ${c.processes} acknowledged` : `${c.onOldRoot} of ${c.processes} on the old root`}`);
      return {
        detail: `kill -9 of ${phase.kills.join(', ')} at ${phase.step}; ${ms(tookMs / 1_000)} s; ${clusters.join(', ')}; 0 of ${facts.requests} requests failed`,
        measured: { tookMs: Math.round(tookMs), kills: phase.kills, requests: facts.requests, failed: 0 },
      };
    });
    if (!held) return false;
  }
  return record.step('rotation-done', async () => {
    const after = await root.rotation();
    need(after.roots.length === 1 && after.roots[0]?.sha256 !== before.roots[0]?.sha256, 'the old root is still there');
    need((after.rotation?.cutOff.length ?? 0) === 0, `cut off: ${after.rotation?.cutOff.join(', ') ?? ''}`);
    await waitFor('the old key to be destroyed', STEP_LIMIT_MS, () => (existsSync(`${federation.options.paths.state(names.trustRoot)}/root.key`) ? undefined : true));
    const tookMs = systemClock.monotonicMs() - startedMonotonicMs;
    const facts = traffic.facts();
    record.figure('rotationWithKillsSeconds', ms(tookMs / 1_000));
    record.figure('rotationKills', kills);
    record.figure('rotationRequests', facts.requests);
    record.figure('rotationFailedRequests', facts.failures.length);
    record.figure('rotationLongestGapMs', ms(facts.longestGapMs));
    return { detail: `${short(before)} → ${short(after)} in ${ms(tookMs / 1_000)} s with ${kills} processes killed on the way; ${facts.failures.length} of ${facts.requests} requests failed; the old key is destroyed` };
  });
}

/** Half a minute after a root has gone, proxies close what still stands on it: by then nothing may. */
async function walkAfterwards({ record }: Walk, traffic: TrustTraffic): Promise<void> {
  await record.step('old-connections-leave', async () => {
    traffic.mark();
    await systemClock.sleep(OLD_CONNECTIONS_MS);
    const facts = traffic.facts();
    need(facts.failures.length === 0, `${facts.failures.length} of ${facts.requests} requests failed, the first: ${facts.failures[0] ?? ''}`);
    return { detail: `0 of ${facts.requests} requests failed in the ${OLD_CONNECTIONS_MS / 1_000} s after, longest gap ${ms(facts.longestGapMs)} ms` };
  });
}

async function walkRollback(walk: Walk, traffic: TrustTraffic): Promise<void> {
  const { record } = walk;
  const root = walk.federation.trustRootAdmin();
  await record.step('rotation-rolls-back', async () => {
    const before = await root.rotation();
    traffic.mark();
    const startedMonotonicMs = systemClock.monotonicMs();
    await root.rotate({ action: 'begin', holdBefore: 'retire' });
    await atStep(walk, 'retire');
    const forwardMs = systemClock.monotonicMs() - startedMonotonicMs;
    await root.rotate({ action: 'rollback' });
    const after = await atStep(walk, 'done');
    need(after.roots.length === 1 && after.roots[0]?.sha256 === before.roots[0]?.sha256, 'it is not the root of before');
    const backMs = systemClock.monotonicMs() - startedMonotonicMs - forwardMs;
    await traffic.settle(SETTLED);
    const facts = traffic.facts();
    need(facts.failures.length === 0, `${facts.failures.length} of ${facts.requests} requests failed, the first: ${facts.failures[0] ?? ''}`);
    record.figure('rotationUntilRetireSeconds', ms(forwardMs / 1_000));
    record.figure('rollbackSeconds', ms(backMs / 1_000));
    return { detail: `up to retirement in ${ms(forwardMs / 1_000)} s, all back on ${short(before)} in ${ms(backMs / 1_000)} s; 0 of ${facts.requests} requests failed`, measured: { forwardMs: Math.round(forwardMs), backMs: Math.round(backMs) } };
  });
}

async function walkCompromise(walk: Walk, traffic: TrustTraffic): Promise<void> {
  const { record } = walk;
  const root = walk.federation.trustRootAdmin();
  await record.step('compromised-root-revoked', async () => {
    const before = await root.rotation();
    traffic.mark();
    const startedMonotonicMs = systemClock.monotonicMs();
    await root.rotate({ action: 'begin', compromised: true });
    const after = await atStep(walk, 'done');
    const tookMs = systemClock.monotonicMs() - startedMonotonicMs;
    need(after.roots.some((r) => r.state === 'revoked' && r.sha256 === before.roots.find((b) => b.state === 'signing')?.sha256), 'the old root is not revoked');
    need((after.rotation?.cutOff.length ?? 0) === 0, `cut off: ${after.rotation?.cutOff.join(', ') ?? ''}`);
    await traffic.settle(SETTLED);
    const facts = traffic.facts();
    record.figure('compromisedRootRevokedSeconds', ms(tookMs / 1_000));
    record.figure('compromisedFailedRequests', facts.failures.length);
    return { detail: `${short(before)} revoked ${ms(tookMs / 1_000)} s after the word, nobody cut off; ${facts.failures.length} of ${facts.requests} requests failed on connections that were closed`, measured: { tookMs: Math.round(tookMs), failed: facts.failures.length } };
  });
}

function atStep(walk: Walk, step: string): Promise<RotationDocument> {
  let last: RotationDocument | undefined;
  return waitFor(`the rotation to come to ${step}`, STEP_LIMIT_MS, async () => {
    last = await walk.federation.trustRootAdmin().rotation();
    if (last.rotation?.step === step) return last;
    throw new Error(`at ${last.rotation?.step ?? 'no step'}, waits for ${last.rotation?.waitingFor.map((w) => `${w.name}: ${w.why}`).join('; ') ?? ''}`);
  }, 50);
}

function short(document: RotationDocument): string {
  return document.roots.find((r) => r.state === 'signing')?.sha256.slice(0, 12) ?? '?';
}
