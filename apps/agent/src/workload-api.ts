// Which of the workloads beside this agent are served by the Workload API: those with selectors.
import type { ServedWorkload } from '@isthmus/identity';
import type { Log } from '@isthmus/telemetry';
import type { PlannedWorkload } from './workloads.ts';

/** The workloads whose processes can be told by selectors; the others are named in the log, once. */
export function servedWorkloads(planned: readonly PlannedWorkload[], log: Log): readonly ServedWorkload[] {
  return planned.flatMap(({ workload: { namespace, service, instance, selectors } }) => {
    if (selectors !== undefined) return [{ service: { namespace, name: service }, selectors }];
    log.info('workload has no selectors, so the Workload API gives it nothing', { namespace, service, instance });
    return [];
  });
}
