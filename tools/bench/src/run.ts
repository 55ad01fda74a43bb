// One workload: every contender started, sampled in turn for some rounds, and stopped.
import { messageOf } from '@isthmus/model';
import type { Running } from './system/running.ts';
import { type Bench, type ContenderName, NotSupported, type Sample, type Setting, type Workload } from './workloads/workload.ts';

export type Measured = {
  readonly workload: Workload;
  /** One sample a round for each contender. */
  readonly samples: ReadonlyMap<ContenderName, readonly Sample[]>;
  /** Contenders that take no part, and why. */
  readonly absent: ReadonlyMap<ContenderName, string>;
  /** Faults of the harness or of a contender: the figures of that one are not to be had. */
  readonly errors: readonly string[];
  readonly notes: readonly string[];
};

/** Rounds that are not counted: caches fill, and V8 compiles for the first ten seconds of load. */
const WARM_UP_ROUNDS = 2;

/**
 * Measures. The order of contenders turns from round to round, so that none is always first; a few rounds before the first
 * are not counted. A contender that fails is left out from then on, and named.
 */
export async function runWorkload(options: { readonly workload: Workload; readonly bench: Bench; readonly contenders: readonly ContenderName[]; readonly rounds: number; readonly onProgress: (text: string) => void }): Promise<Measured> {
  const { workload, bench, contenders, rounds, onProgress } = options;
  const samples = new Map<ContenderName, Sample[]>();
  const absent = new Map<ContenderName, string>();
  const errors: string[] = [];
  const notes = new Set<string>();
  const lacking = workload.needs.filter((name) => !bench.programs.has(name));
  if (lacking.length > 0) {
    for (const name of contenders) absent.set(name, `the workload needs ${lacking.join(' and ')}`);
    return { workload, samples, absent, errors, notes: [] };
  }

  let setting: Setting;
  try {
    setting = await workload.open(bench);
  } catch (error) {
    return { workload, samples, absent, errors: [`${workload.name}: ${messageOf(error)}`], notes: [] };
  }
  const running = new Map<ContenderName, readonly Running[]>();
  const start = async (name: ContenderName): Promise<readonly Running[]> => {
    const proxies = await setting.start(name);
    for (const { about } of proxies) if (about !== undefined) notes.add(`${name}: ${about}`);
    return proxies;
  };
  const leaveOut = async (name: ContenderName, error: unknown): Promise<void> => {
    if (!(error instanceof NotSupported)) errors.push(`${workload.name}, ${name}: ${messageOf(error)}`);
    absent.set(name, messageOf(error));
    samples.delete(name);
    await stopAll(running.get(name) ?? []);
    running.delete(name);
  };
  const sampleOf = async (name: ContenderName): Promise<Sample> => {
    if (setting.needsNewProcess !== true) return setting.sample(running.get(name) ?? []);
    const proxies = await start(name);
    try {
      return await setting.sample(proxies);
    } finally {
      await stopAll(proxies);
    }
  };

  try {
    for (const name of contenders) {
      try {
        running.set(name, setting.needsNewProcess === true ? [] : await start(name));
      } catch (error) {
        await leaveOut(name, error);
      }
    }
    const isWarm = setting.needsNewProcess === true || bench.isQuick;
    for (let round = isWarm ? 1 : 1 - WARM_UP_ROUNDS; round <= rounds; round++) {
      const direct = await setting.direct?.();
      for (const name of turned([...running.keys()], round)) {
        onProgress(`${workload.name}, ${round > 0 ? `round ${round} of ${rounds}` : 'warming up'}: ${name}`);
        try {
          const sample = added(workload, await sampleOf(name), direct);
          if (round > 0) samples.set(name, [...(samples.get(name) ?? []), sample]);
        } catch (error) {
          await leaveOut(name, error);
        }
      }
    }
  } catch (error) {
    errors.push(`${workload.name}: ${messageOf(error)}`);
  } finally {
    for (const proxies of running.values()) await stopAll(proxies);
    await setting.stop();
  }
  return { workload, samples, absent, errors, notes: [...notes, ...(setting.notes ?? [])] };
}

/** The list begun at another place. */
export function turned<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : (by + list.length * WARM_UP_ROUNDS) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

function added(workload: Workload, sample: Sample, direct: Sample | undefined): Sample {
  if (direct === undefined) return sample;
  const metrics = workload.metrics.filter((metric) => metric.isAdded === true).map((metric) => metric.name);
  return { ...sample, ...Object.fromEntries(metrics.map((name) => [name, (sample[name] ?? Number.NaN) - (direct[name] ?? Number.NaN)])) };
}

async function stopAll(proxies: readonly Running[]): Promise<void> {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
}
