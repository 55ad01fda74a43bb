// Steps under load: both local instances killed without a failed request, and traffic back once they return.
import { outboundOf } from '../federation.ts';
import { names, PAYMENTS } from '../topology.ts';
import { startLoad } from '../traffic.ts';
import { answersFrom, formatCounts, ms, need, needNoFailure } from './step.ts';
import type { Walk } from './tours.ts';

export const CLIENTS = 8;
export const PAUSE_MS = 10;
const LIMIT_MS = 15_000;
/** So many answers in a row say that traffic has settled. */
const SETTLED = 150;

export async function walkFailover({ federation, record }: Walk): Promise<void> {
  const { supervisor } = federation.options;
  const east = ['payments-1', 'payments-2'].map((instance) => names.workload('east', instance));
  const load = startLoad(outboundOf(federation, 'vm-1', PAYMENTS), { clients: CLIENTS, pauseMs: PAUSE_MS });
  try {
    await record.step('failover-under-load', async () => {
      await answersFrom(load, 'east', SETTLED, LIMIT_MS);
      load.mark();
      await Promise.all(east.map((name) => supervisor.kill(name)));
      const { firstAfterMs } = await answersFrom(load, 'west', SETTLED, LIMIT_MS);
      const facts = load.facts();
      record.figure('failoverLongestGapMs', ms(facts.longestGapMs));
      needNoFailure(facts, `while both instances of east were killed under ${CLIENTS} clients`);
      need((facts.byCluster['west'] ?? 0) >= SETTLED, `west answered ${facts.byCluster['west'] ?? 0} times only`);
      return {
        detail: `kill -9 of both east instances under ${CLIENTS} clients: 0 of ${facts.requests} requests failed (${formatCounts(facts.byCluster)}), longest gap ${ms(facts.longestGapMs)} ms`,
        measured: { requests: facts.requests, failed: facts.failures.length, longestGapMs: ms(facts.longestGapMs), firstWestAnswerAfterMs: ms(firstAfterMs), byCluster: facts.byCluster },
      };
    });
    await record.step('return-to-local', async () => {
      load.mark();
      await Promise.all(east.map((name) => supervisor.restart(name)));
      const { firstAfterMs } = await answersFrom(load, 'east', SETTLED, LIMIT_MS);
      const facts = load.facts();
      needNoFailure(facts, 'while the instances of east came back');
      return {
        detail: `east answered again ${ms(firstAfterMs)} ms after its instances were up, ${SETTLED} in a row followed; 0 of ${facts.requests} requests failed`,
        measured: { requests: facts.requests, failed: facts.failures.length, firstLocalAnswerAfterMs: ms(firstAfterMs), byCluster: facts.byCluster },
      };
    });
  } finally {
    await load.stop();
    // Whatever went wrong above, the later steps begin with east’s instances up.
    await Promise.allSettled(east.map((name) => supervisor.restart(name)));
  }
}
