// The main tour: the promises of a federation of two clusters and a VM, each shown once, and what was measured on the way.
import { openProbeCluster } from './probe-cluster.ts';
import { walkCertificates } from './certificate-steps.ts';
import { measureIssuance, measureMemory, measurePropagation } from './figures.ts';
import { walkFailover } from './failover-steps.ts';
import { walkRequests } from './request-steps.ts';
import { walkRestarts } from './restart-steps.ts';
import { walkStart } from './start-step.ts';
import type { Walk } from './tours.ts';

/** Walks all of it; a step that does not hold is recorded and the walk goes on, but for the start, without which there is nothing to walk. */
export async function walkMain(walk: Walk): Promise<void> {
  const { record } = walk;
  if (!(await walkStart(walk))) return;
  await walkRequests(walk);
  const probe = await openProbeCluster(walk.federation).catch((error: unknown) => error as Error);
  await walkCertificates(walk, probe);
  await walkFailover(walk);
  await walkRestarts(walk);
  await record.step('change-propagates', () => measurePropagation(walk));
  await record.step('certificates-issued', () => measureIssuance(walk));
  await record.step('memory', () => measureMemory(walk));
}
