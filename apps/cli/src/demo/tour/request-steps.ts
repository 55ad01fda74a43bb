// Steps on single requests: across clusters with identities, and the nearest cluster first.
import { outboundOf } from '../federation.ts';
import { LEDGER, PAYMENTS } from '../topology.ts';
import { type Outcome, percentile, request } from '../traffic.ts';
import { ms, need } from './step.ts';
import type { Walk } from './tours.ts';

const REQUESTS = 100;

export async function walkRequests({ federation, record }: Walk): Promise<void> {
  await record.step('cross-cluster-request', async () => {
    const outcome = await request(outboundOf(federation, 'vm-1', LEDGER));
    need(outcome.ok, outcome.ok ? '' : outcome.why);
    need(outcome.cluster === 'west', `ledger stands in west only, yet ${outcome.cluster} answered`);
    const caller = /URI=(spiffe:\/\/[^;,"]+)/.exec(outcome.caller ?? '')?.[1];
    need(caller !== undefined, `the server was told of no SPIFFE ID (header: ${outcome.caller ?? 'none'})`);
    need(caller.startsWith('spiffe://east.'), `vm-1 is of east’s trust domain, yet the server saw ${caller}`);
    return { detail: `vm-1 → ledger answered by west ${outcome.instance} in ${ms(outcome.latencyMs)} ms; the server saw ${caller}`, measured: { latencyMs: ms(outcome.latencyMs), caller } };
  });
  await record.step('local-preferred', async () => {
    const seen: Record<string, Record<string, number>> = {};
    const latencies: number[] = [];
    for (const [from, cluster] of [['vm-1', 'east'], ['east-1', 'east'], ['west-1', 'west']] as const) {
      const outcomes = await sendMany(outboundOf(federation, from, PAYMENTS), REQUESTS);
      const counts: Record<string, number> = {};
      for (const outcome of outcomes) {
        need(outcome.ok, outcome.ok ? '' : `${from}: ${outcome.why}`);
        need(outcome.cluster === cluster, `${from} is in ${cluster}, yet ${outcome.cluster} answered`);
        counts[outcome.instance] = (counts[outcome.instance] ?? 0) + 1;
        latencies.push(outcome.latencyMs);
      }
      seen[from] = counts;
    }
    const spread = Object.entries(seen).map(([from, counts]) => `${from}: ${Object.entries(counts).map(([instance, count]) => `${instance} ${count}`).join(', ')}`);
    return { detail: `${3 * REQUESTS} of ${3 * REQUESTS} answered in the caller’s own cluster (${spread.join('; ')}); p50 ${ms(percentile(latencies, 50))} ms`, measured: { seen, p50Ms: ms(percentile(latencies, 50)), p99Ms: ms(percentile(latencies, 99)) } };
  });
}

async function sendMany(to: { readonly host: string; readonly port: number }, count: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let i = 0; i < count; i += 1) outcomes.push(await request(to));
  return outcomes;
}
