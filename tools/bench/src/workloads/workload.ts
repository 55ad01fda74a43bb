// What a workload is: something to start for each contender, and a sample to take of it.
import type { EngineKind } from '@isthmus/dataplane';
import type { Program, ProgramName } from '../peers/find-program.ts';
import type { PeerName } from '../peers/launch.ts';
import type { Running } from '../system/running.ts';

export type ContenderName = 'isthmus' | PeerName;

export type Metric = {
  readonly name: string;
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  /** The median of the same measured without any proxy is taken away. */
  readonly isAdded?: boolean;
};

/** One value for each metric, by its name. */
export type Sample = Readonly<Record<string, number>>;

/** Why a contender takes no part, in words for the reader. */
export class NotSupported extends Error {}

/** What a workload may use. */
export type Bench = {
  readonly programs: ReadonlyMap<ProgramName, Program>;
  /** A folder for configurations, gone at the end. */
  readonly scratch: string;
  readonly isQuick: boolean;
  /** Which engine of ours, where there is a choice. */
  readonly engine: EngineKind | undefined;
};

/** A workload whose backend and load generator run. */
export interface Setting {
  /** Starts a contender. **Throws** NotSupported when it has no such mode. More than one process where a path has several. */
  start(name: ContenderName): Promise<readonly Running[]>;
  /** Puts the load on them once and measures. */
  sample(proxies: readonly Running[]): Promise<Sample>;
  /** The same load straight on the backend; for metrics that are `isAdded`. */
  readonly direct?: () => Promise<Sample>;
  /** Every sample takes new processes: memory that was freed is not given back. */
  readonly needsNewProcess?: boolean;
  /** Facts the reader needs, such as a count made smaller by a limit of the machine. */
  readonly notes?: readonly string[];
  stop(): Promise<void>;
}

export type Workload = {
  readonly name: string;
  readonly summary: string;
  readonly metrics: readonly Metric[];
  /** Without these nothing can be measured. */
  readonly needs: readonly ProgramName[];
  open(bench: Bench): Promise<Setting>;
};
