// Every workload, in the order they run.
import { LAYER4 } from './layer4.ts';
import type { Workload } from './workload.ts';

export const WORKLOADS: readonly Workload[] = [...LAYER4];
