// Requests as an application on vm-1 makes them: plain HTTP through the agent's outbound listener, each answer or failure written down.
import { Agent, get } from 'node:http';
import { systemClock } from '@isthmus/runtime';

/** What the sample workload said of itself. */
export type Answer = { readonly cluster: string; readonly instance: string; readonly caller: string | undefined; readonly latencyMs: number };
export type Failure = { readonly why: string; readonly latencyMs: number };
export type Outcome = ({ readonly ok: true } & Answer) | ({ readonly ok: false } & Failure);

export type OutboundAddress = { readonly host: string; readonly port: number };

const REQUEST_LIMIT_MS = 10_000;

/** Sends one GET and waits for the whole answer; anything but 200 with the sample's JSON is a failure, never an exception. */
export function request(to: OutboundAddress, path = '/', agent?: Agent): Promise<Outcome> {
  const startedMonotonicMs = systemClock.monotonicMs();
  const latency = (): number => systemClock.monotonicMs() - startedMonotonicMs;
  return new Promise((resolve) => {
    const failed = (why: string): void => resolve({ ok: false, why, latencyMs: latency() });
    const sent = get({ host: to.host, port: to.port, path, timeout: REQUEST_LIMIT_MS, ...(agent === undefined ? { agent: false } : { agent }) }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (error) => failed(`answer cut off: ${error.message}`));
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8');
        if (response.statusCode !== 200) return failed(`status ${response.statusCode}: ${body.slice(0, 200)}`);
        resolve(toAnswer(body, latency()));
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer in ${REQUEST_LIMIT_MS} ms`)));
    sent.on('error', (error) => failed(error.message));
  });
}

function toAnswer(body: string, latencyMs: number): Outcome {
  try {
    const { cluster, instance, caller } = JSON.parse(body) as { cluster: string; instance: string; caller?: string };
    return { ok: true, cluster, instance, caller, latencyMs };
  } catch {
    return { ok: false, why: `answer is not the sample’s JSON: ${body.slice(0, 80)}`, latencyMs };
  }
}

/** What a load saw from a moment on. */
export type LoadFacts = {
  readonly requests: number;
  readonly failures: readonly string[];
  readonly byCluster: Readonly<Record<string, number>>;
  /** Longest time any one client went without an answer. */
  readonly longestGapMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export interface Load {
  /** Forgets what was seen so far and counts anew. */
  mark(): void;
  facts(): LoadFacts;
  /** Resolves with the monotonic time of the first answer of such a cluster from now on. Throws CLI_TIMEOUT by its caller's wait. */
  onOutcome(fn: (outcome: Outcome, atMonotonicMs: number) => void): () => void;
  stop(): Promise<void>;
}

/** Starts clients that each keep one connection alive and send GETs one after the other, with a short pause between. */
export function startLoad(to: OutboundAddress, options: { readonly clients: number; readonly pauseMs: number }): Load {
  let counted = newCount();
  let stopping = false;
  const listeners = new Set<(outcome: Outcome, atMonotonicMs: number) => void>();

  const client = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    let lastAnswerMonotonicMs = systemClock.monotonicMs();
    while (!stopping) {
      const outcome = await request(to, '/', agent);
      const nowMonotonicMs = systemClock.monotonicMs();
      counted.requests += 1;
      counted.latenciesMs.push(outcome.latencyMs);
      if (outcome.ok) {
        counted.byCluster[outcome.cluster] = (counted.byCluster[outcome.cluster] ?? 0) + 1;
        counted.longestGapMs = Math.max(counted.longestGapMs, nowMonotonicMs - Math.max(lastAnswerMonotonicMs, counted.sinceMonotonicMs));
        lastAnswerMonotonicMs = nowMonotonicMs;
      } else if (counted.failures.length < 1_000) {
        counted.failures.push(outcome.why);
      }
      for (const listener of listeners) listener(outcome, nowMonotonicMs);
      if (options.pauseMs > 0) await systemClock.sleep(options.pauseMs);
    }
    agent.destroy();
  };
  const clients = Array.from({ length: options.clients }, client);

  return {
    mark: () => {
      counted = newCount();
    },
    facts: () => ({
      requests: counted.requests,
      failures: counted.failures,
      byCluster: { ...counted.byCluster },
      longestGapMs: counted.longestGapMs,
      p50Ms: percentile(counted.latenciesMs, 50),
      p99Ms: percentile(counted.latenciesMs, 99),
    }),
    onOutcome: (fn) => {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    stop: async () => {
      stopping = true;
      await Promise.all(clients);
    },
  };
}

function newCount() {
  return {
    sinceMonotonicMs: systemClock.monotonicMs(),
    requests: 0,
    failures: [] as string[],
    byCluster: {} as Record<string, number>,
    longestGapMs: 0,
    latenciesMs: [] as number[],
  };
}

/** The nearest-rank percentile of a list, 0 for an empty one. */
export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}
