// One workload: every contender started, sampled in turn for some rounds, and stopped.
import { messageOf } from '@isthmus/model';
import type { Running } from './system/running.ts';
import { median } from './statistics.ts';
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
  const directs: Sample[] = [];
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
      if (direct !== undefined && round > 0) directs.push(direct);
      for (const name of turned([...running.keys()], round)) {
        onProgress(`${workload.name}, ${round > 0 ? `round ${round} of ${rounds}` : 'warming up'}: ${name}`);
        try {
          const sample = await sampleOf(name);
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
  return { workload, samples: added(workload, samples, directs), absent, errors, notes: [...notes, ...(setting.notes ?? [])] };
}

/** The list begun at another place. */
export function turned<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : (by + list.length * WARM_UP_ROUNDS) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/** One pause of the machine while nothing stood in between would be taken away from everybody: so the median is. */
function added(workload: Workload, samples: ReadonlyMap<ContenderName, readonly Sample[]>, directs: readonly Sample[]): ReadonlyMap<ContenderName, readonly Sample[]> {
  const names = directs.length === 0 ? [] : workload.metrics.filter((metric) => metric.isAdded === true).map((metric) => metric.name);
  const direct = new Map(names.map((name) => [name, median(directs.map((sample) => sample[name] ?? Number.NaN))]));
  const without = (sample: Sample): Sample => ({ ...sample, ...Object.fromEntries([...direct].map(([name, value]) => [name, (sample[name] ?? Number.NaN) - value])) });
  return new Map([...samples].map(([name, rounds]) => [name, rounds.map(without)]));
}

async function stopAll(proxies: readonly Running[]): Promise<void> {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
}
