// Steps on restarts: a control plane and the trust root killed and started again while requests flow.
import { outboundOf } from '../federation.ts';
import { waitFor } from '../supervisor.ts';
import { LEDGER, names, PAYMENTS } from '../topology.ts';
import { startLoad } from '../traffic.ts';
import { systemClock } from '@isthmus/runtime';
import { CLIENTS, PAUSE_MS } from './failover-steps.ts';
import { changeWeight } from './figures.ts';
import { answersFrom, ms, need, needNoFailure } from './step.ts';
import type { Walk } from './tours.ts';

const AWAY_ANSWERS = 100;
const LIMIT_MS = 15_000;

export async function walkRestarts(walk: Walk): Promise<void> {
  const { federation, record } = walk;
  const { supervisor } = federation.options;
  const local = startLoad(outboundOf(federation, 'vm-1', PAYMENTS), { clients: CLIENTS / 2, pauseMs: PAUSE_MS });
  const remote = startLoad(outboundOf(federation, 'vm-1', LEDGER), { clients: CLIENTS / 2, pauseMs: PAUSE_MS });
  const bothSettle = () => Promise.all([answersFrom(local, 'east', AWAY_ANSWERS, LIMIT_MS), answersFrom(remote, 'west', AWAY_ANSWERS, LIMIT_MS)]);
  const markBoth = (): void => {
    local.mark();
    remote.mark();
  };
  const factsOf = (when: string) => {
    const facts = [local.facts(), remote.facts()] as const;
    for (const one of facts) needNoFailure(one, when);
    return { requests: facts[0].requests + facts[1].requests, longestGapMs: Math.max(facts[0].longestGapMs, facts[1].longestGapMs) };
  };
  try {
    await record.step('control-plane-restart', async () => {
      await bothSettle();
      markBoth();
      const name = names.controlPlane('east');
      await supervisor.kill(name);
      await bothSettle();
      const back = await supervisor.restart(name);
      const upMonotonicMs = systemClock.monotonicMs();
      await bothSettle();
      // It serves again only when a change made through it is seen in the other cluster.
      await changeWeight(walk, LIMIT_MS);
      const currentAfterMs = systemClock.monotonicMs() - upMonotonicMs;
      const facts = factsOf('while east’s control plane was killed and restarted');
      return {
        detail: `kill -9 and restart of ${name}: 0 of ${facts.requests} requests failed, longest gap ${ms(facts.longestGapMs)} ms; ready after ${Math.round(back.readyAfterMs)} ms, a change crossed again ${Math.round(currentAfterMs)} ms later`,
        measured: { ...facts, failed: 0, readyAfterMs: Math.round(back.readyAfterMs), changeCrossedAfterMs: Math.round(currentAfterMs) },
      };
    });
    await record.step('trust-root-restart', async () => {
      const before = await federation.trustRootAdmin().federation();
      markBoth();
      await supervisor.kill(names.trustRoot);
      await bothSettle();
      const back = await supervisor.restart(names.trustRoot);
      await bothSettle();
      const after = await waitFor('the trust root to answer', LIMIT_MS, () => federation.trustRootAdmin().federation());
      const members = (view: typeof before): string => view.members.map((m) => m.cluster).toSorted().join(',');
      need(members(before) === members(after), `members were ${members(before)}, and are ${members(after)} after the restart`);
      const authorities = (view: typeof before): string => view.bundles.flatMap((b) => b.x509Authorities.map((a) => `${b.trustDomain}:${Buffer.from(a).toString('base64')}`)).toSorted().join();
      need(authorities(before) === authorities(after), 'the bundles changed with the restart');
      const facts = factsOf('while the trust root was killed and restarted');
      return {
        detail: `kill -9 and restart of the trust root: 0 of ${facts.requests} requests failed, longest gap ${ms(facts.longestGapMs)} ms; ready after ${Math.round(back.readyAfterMs)} ms with the same members (${members(after)}) and bundles`,
        measured: { ...facts, failed: 0, readyAfterMs: Math.round(back.readyAfterMs) },
      };
    });
  } finally {
    await Promise.all([local.stop(), remote.stop()]);
    await Promise.allSettled([supervisor.restart(names.controlPlane('east')), supervisor.restart(names.trustRoot)]);
  }
}
