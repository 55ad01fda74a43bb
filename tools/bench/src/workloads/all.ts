// Every workload, in the order they run.
import { LAYER4 } from './layer4.ts';
import { LAYER7 } from './layer7.ts';
import type { Workload } from './workload.ts';

export const WORKLOADS: readonly Workload[] = [...LAYER4, ...LAYER7];
