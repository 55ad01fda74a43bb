// A federation under full load while its endpoints change every moment: what failed, and what grew.
import { readdirSync } from 'node:fs';
import { spiffeIds } from '@isthmus/model';
import type { X509Svid } from '@isthmus/pki';
import { askOverTls, names, openProbeCluster, outboundOf, PAYMENTS, smallTopology, startFederation, startLoad, type TestFederation, waitFor } from '@isthmus/harness';
import { residentMib, verdictOf, type Growth, type Sample } from './growth.ts';

export type SoakOptions = {
  readonly minutes: number;
  /** Keep-alive clients of vm-1's agent, each asking without a pause. */
  readonly clients: number;
  /** Callers that open a new TLS connection through west's gateway for each request. */
  readonly callers: number;
  readonly changeEveryMs: number;
  readonly onSample?: (progress: { readonly elapsedMs: number; readonly requests: number; readonly connections: number; readonly failures: number; readonly changes: number }) => void;
};

export type SoakResult = {
  readonly seconds: number;
  readonly requests: number;
  /** TLS connections through the gateway, one request each. */
  readonly connections: number;
  readonly changes: number;
  /** The first of what failed; there was a healthy endpoint for each. */
  readonly failures: readonly string[];
  readonly failureCount: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly byCluster: Readonly<Record<string, number>>;
  readonly processes: readonly Growth[];
  readonly ok: boolean;
};

const MAX_FAILURES_SHOWN = 20;
const HOUR_MS = 3_600_000;

type Instance = readonly [agent: string, instance: string];
const EAST: readonly [Instance, Instance] = [['east-1', 'payments-1'], ['east-2', 'payments-2']];
const WEST: readonly [Instance, Instance] = [['west-1', 'payments-1'], ['west-2', 'payments-2']];

/** Which of a pair drain in one change: now and then one, never both, and never one just after the other. */
const ALTERNATE: readonly (readonly [boolean, boolean])[] = [[true, false], [false, false], [false, true], [false, false]];
/**
 * In every so many changes of a cluster, all of east drains for the last ones: its callers move to west. Some changes
 * into that, one of its programs is started anew: whoever still asks it then fails.
 */
const CYCLE = 40;
const AWAY = 10;
const RESTART = 5;

/** Starts everything, loads it for so long, and judges. Everything is ended whatever happens. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const mesh = await startFederation({ topology: smallTopology(['east-1', 'east-2', 'vm-1', 'west-1', 'west-2']) });
  try {
    return await run(mesh, options);
  } finally {
    await mesh.close();
  }
}

async function run(mesh: TestFederation, options: SoakOptions): Promise<SoakResult> {
  const probe = await openProbeCluster(mesh.federation);
  const gatewayPort = mesh.federation.port(names.gateway('west'));
  const toPayments = { port: gatewayPort, serverName: 'http.payments.shop.svc.west.demo.isthmus.example' };
  const svid = probe.sign(spiffeIds.service(probe.trustDomain, PAYMENTS), { nowMs: Date.now(), ttlMs: 24 * HOUR_MS });
  await waitFor('west to take a caller of the new cluster', 20_000, async () => {
    const outcome = await askOverTls({ ...toPayments, svid });
    if (outcome.kind === 'refused') throw new Error(outcome.detail);
    return outcome;
  }, 100);

  const startedMs = performance.now();
  const endMs = startedMs + options.minutes * 60_000;
  const load = startLoad(outboundOf(mesh.federation, 'vm-1', PAYMENTS), { clients: options.clients, pauseMs: 0 });
  const churn = startChurn(toPayments, svid, options.callers);
  const changer = startChanges(mesh, options.changeEveryMs);
  const samples: Sample[] = [];
  try {
    while (performance.now() < endMs) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      samples.push({ atMs: performance.now() - startedMs, processes: measure(mesh) });
      const facts = load.facts();
      options.onSample?.({ elapsedMs: performance.now() - startedMs, requests: facts.requests, connections: churn.connections(), failures: facts.failures.length + churn.failures().length, changes: changer.changes() });
    }
  } finally {
    await changer.stop();
    await Promise.all([load.stop(), churn.stop()]);
  }
  const facts = load.facts();
  const failures = [...facts.failures, ...churn.failures(), ...changer.failures()];
  const processes = verdictOf(samples);
  return {
    seconds: (performance.now() - startedMs) / 1_000,
    requests: facts.requests,
    connections: churn.connections(),
    changes: changer.changes(),
    failures: failures.slice(0, MAX_FAILURES_SHOWN),
    failureCount: failures.length,
    p50Ms: facts.p50Ms,
    p99Ms: facts.p99Ms,
    byCluster: facts.byCluster,
    processes,
    ok: failures.length === 0 && processes.every((p) => p.ok),
  };
}

function startChurn(to: { readonly port: number; readonly serverName: string }, svid: X509Svid, callers: number) {
  let stopping = false;
  let connections = 0;
  const failures: string[] = [];
  const caller = async (): Promise<void> => {
    while (!stopping) {
      const outcome = await askOverTls({ ...to, svid });
      connections += 1;
      if (!/ 200 /.test(outcome.detail) && failures.length < 1_000) failures.push(`through the gateway: ${outcome.kind} ${outcome.detail} after ${Math.round(outcome.afterMs)} ms`);
    }
  };
  const running = Array.from({ length: callers }, caller);
  return {
    connections: () => connections,
    failures: () => failures,
    stop: async () => {
      stopping = true;
      await Promise.all(running);
    },
  };
}

/** At every moment an instance drains or comes back, first in east, then in west, where one is always left. */
function startChanges(mesh: TestFederation, everyMs: number) {
  let stopping = false;
  let changes = 0;
  const failures: string[] = [];
  let isRestarting = false;
  const restart = async (workload: string): Promise<void> => {
    isRestarting = true;
    try {
      await mesh.supervisor.stop(workload);
      await mesh.supervisor.restart(workload);
    } catch (error) {
      failures.push(`${workload} did not come back: ${String(error)}`);
    } finally {
      isRestarting = false;
    }
  };
  const set = ([agent, instance]: Instance, draining: boolean): Promise<void> => mesh.federation.proxy(agent).setDraining(PAYMENTS, instance, draining);
  const change = async (step: number): Promise<void> => {
    const turn = step >> 1;
    const [pair, isEast] = step % 2 === 0 ? [EAST, true] : [WEST, false];
    const isAway = isEast && (isRestarting || turn % CYCLE >= CYCLE - AWAY);
    if (isEast && turn % CYCLE === CYCLE - AWAY + RESTART && !isRestarting) void restart(names.workload('east', turn % (2 * CYCLE) < CYCLE ? 'payments-1' : 'payments-2'));
    const [first, second] = isAway ? [true, true] : (ALTERNATE[turn % ALTERNATE.length] ?? [false, false]);
    await Promise.all([set(pair[0], first), set(pair[1], second)]);
  };
  const running = (async () => {
    for (let step = 0; !stopping; step++) {
      const dueMs = performance.now() + everyMs;
      try {
        await change(step);
        changes += 1;
      } catch (error) {
        failures.push(`a change was refused: ${String(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    }
  })();
  return {
    changes: () => changes,
    failures: () => failures,
    stop: async () => {
      stopping = true;
      await running;
      while (isRestarting) await new Promise((resolve) => setTimeout(resolve, 50));
    },
  };
}

/** Memory and descriptors of every proxy: the gateways and agents. */
function measure(mesh: TestFederation): Sample['processes'] {
  return mesh.supervisor
    .list()
    .filter(({ name, isRunning }) => isRunning && /-gateway$|^(east|west|vm)-\d$/.test(name))
    .map(({ name, pid }) => ({ name, residentMib: residentMib(pid), descriptors: readdirSync(`/proc/${pid}/fd`).length }));
}
