// Figures of the tour: how fast a change crosses clusters, how many certificates a second, how much memory.
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { joinOrResume } from '@isthmus/identity';
import { generateKey, makeCsr } from '@isthmus/pki';
import { formatServiceName, type ServiceView, spiffeIds } from '@isthmus/model';
import { call, identity } from '@isthmus/rpc';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { silentLog } from '@isthmus/telemetry';
import { fail } from '../../errors.ts';
import { residentMemoryMib } from '../measure.ts';
import type { StepResult } from '../report.ts';
import { names, PAYMENTS } from '../topology.ts';
import { percentile } from '../traffic.ts';
import { ms, need } from './step.ts';
import type { Walk } from './tours.ts';

const CHANGES = 100;
const PAUSE_MS = 20;
const CHANGE_LIMIT_MS = 5_000;
const ISSUE_FOR_MS = 2_000;
const ISSUE_AT_ONCE = 16;

/** What west's agent has in force of payments in east: the weight ready there. */
interface EastWeight {
  get(): number;
  /** Resolves with the monotonic time at which the weight came to be `wanted`. */
  until(wanted: (weight: number) => boolean, limitMs: number): Promise<number>;
  close(): Promise<void>;
}

/** Drains and undrains one instance of east and sees both in force at west's agent. Throws CLI_TIMEOUT. */
export async function changeWeight(walk: Walk, limitMs: number): Promise<void> {
  const weight = await watchEastWeight(walk);
  try {
    const before = weight.get();
    await setDraining(walk, true);
    await weight.until((now) => now < before, limitMs);
    await setDraining(walk, false);
    await weight.until((now) => now === before, limitMs);
  } finally {
    await weight.close();
  }
}

/**
 * Times 100 changes from the call that drains an instance in east to the moment west's agent has it in force; both
 * ends are seen by this one process, so no clocks are compared.
 */
export async function measurePropagation(walk: Walk): Promise<StepResult> {
  await changeWeight(walk, CHANGE_LIMIT_MS);
  const weight = await watchEastWeight(walk);
  const timesMs: number[] = [];
  const full = weight.get();
  try {
    for (let i = 0; i < CHANGES; i += 1) {
      const draining = i % 2 === 0;
      const startedMonotonicMs = systemClock.monotonicMs();
      const inForce = weight.until((now) => (draining ? now < full : now === full), CHANGE_LIMIT_MS);
      await setDraining(walk, draining);
      timesMs.push((await inForce) - startedMonotonicMs);
      await systemClock.sleep(PAUSE_MS);
    }
  } finally {
    await setDraining(walk, false).catch(() => undefined);
    await weight.close();
  }
  const figure = { changes: CHANGES, p50Ms: ms(percentile(timesMs, 50)), p99Ms: ms(percentile(timesMs, 99)), maxMs: ms(Math.max(...timesMs)) };
  walk.record.figure('propagation', figure);
  return { detail: `${CHANGES} changes in east in force at west’s agent: p50 ${figure.p50Ms} ms, p99 ${figure.p99Ms} ms, longest ${figure.maxMs} ms`, measured: figure };
}

async function watchEastWeight({ federation }: Walk): Promise<EastWeight> {
  const abort = new AbortController();
  const waiting = new Set<() => void>();
  let current: number | undefined;
  let atMonotonicMs = 0;
  const stream = federation.proxy('west-1').watchService(PAYMENTS, abort.signal, ({ view }) => {
    current = readyWeightOf(view, 'east');
    atMonotonicMs = systemClock.monotonicMs();
    for (const look of waiting) look();
  });
  stream.catch(() => undefined);
  const until = async (wanted: (weight: number) => boolean, limitMs: number): Promise<number> => {
    const done = Promise.withResolvers<number>();
    const look = (): void => {
      if (current !== undefined && wanted(current)) done.resolve(atMonotonicMs);
    };
    waiting.add(look);
    const limit = systemClock.setTimer(limitMs, () => done.reject(fail('CLI_TIMEOUT', `a change in east was not in force at west-1 within ${limitMs} ms (weight ${current})`)));
    look();
    try {
      return await done.promise;
    } finally {
      limit.cancel();
      waiting.delete(look);
    }
  };
  const get = (): number => current ?? 0;
  const close = async (): Promise<void> => {
    abort.abort();
    await stream.catch(() => undefined);
  };
  await until((weight) => weight > 0, CHANGE_LIMIT_MS).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return { get, until, close };
}

function readyWeightOf(view: ServiceView | undefined, cluster: string): number {
  return (view?.endpoints ?? []).filter((e) => e.cluster === cluster && e.health === 'healthy').reduce((sum, e) => sum + e.weight, 0);
}

function setDraining({ federation }: Walk, draining: boolean): Promise<void> {
  return federation.proxy('east-2').setDraining(PAYMENTS, 'payments-2', draining);
}

/** Joins as one more agent of east and asks its control plane for SVIDs of payments, many at once, for two seconds. */
export async function measureIssuance({ federation, record }: Walk): Promise<StepResult> {
  const agent = 'bench-1';
  const { token } = await federation.admin('east').createJoinToken({ agent, role: 'agent', services: [formatServiceName(PAYMENTS)], ttlSeconds: 60 });
  const stateDir = mkdtempSync(join(federation.options.paths.root, 'bench-'));
  const joined = await joinOrResume({
    stateDir,
    token,
    server: { address: `127.0.0.1:${federation.port(names.controlPlane('east'))}` },
    clock: systemClock,
    random: systemRandom,
    log: silentLog(),
  });
  try {
    const client = joined.channel().client(identity.IssuanceClient);
    const csr = makeCsr({ key: generateKey(), spiffeId: spiffeIds.service(joined.trustDomain, PAYMENTS) });
    const startedMonotonicMs = systemClock.monotonicMs();
    let issued = 0;
    let refused: unknown;
    const ask = async (): Promise<void> => {
      while (systemClock.monotonicMs() - startedMonotonicMs < ISSUE_FOR_MS && refused === undefined) {
        const answer = await call(client.issueService.bind(client), { csr, namespace: PAYMENTS.namespace, service: PAYMENTS.name }, { timeoutMs: 5_000 }).catch((error: unknown) => {
          refused = error;
          return undefined;
        });
        if (answer !== undefined && answer.chain.length > 0) issued += 1;
      }
    };
    await Promise.all(Array.from({ length: ISSUE_AT_ONCE }, ask));
    const perSecond = Math.round((issued * 1_000) / (systemClock.monotonicMs() - startedMonotonicMs));
    record.figure('certificatesPerSecond', perSecond);
    need(issued > 0, `east’s control plane issued nothing: ${String(refused)}`);
    return { detail: `${perSecond} SVIDs a second issued by east’s control plane over gRPC, ${ISSUE_AT_ONCE} requests at once, from one client process`, measured: { perSecond, issued, ...(refused === undefined ? {} : { refused: String(refused) }) } };
  } finally {
    await joined.close();
    rmSync(stateDir, { recursive: true, force: true });
  }
}

/** Resident memory of every process, after all the load of the walk. */
export async function measureMemory({ federation, record }: Walk): Promise<StepResult> {
  const processes = federation.options.supervisor.list().filter((p) => p.isRunning);
  const mib = Object.fromEntries(processes.map((p) => [p.name, residentMemoryMib(p.pid)] as const).filter((entry): entry is readonly [string, number] => entry[1] !== undefined));
  record.figure('residentMemoryMib', mib);
  const [largest = 'none', size = 0] = Object.entries(mib).toSorted(([, a], [, b]) => b - a)[0] ?? [];
  need(processes.length > 0, 'no process runs');
  return { detail: Object.keys(mib).length === 0 ? 'this system does not tell' : `${Object.keys(mib).length} processes, the largest ${largest} with ${size} MiB resident`, measured: { residentMemoryMib: mib } };
}
