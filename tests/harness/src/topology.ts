// Smaller federations than the demo's, so that a test starts no more than it needs.
import { type ClusterPlan, DEMO_TOPOLOGY, type Topology } from '@isthmus/cli/demo';

/** The demo's topology with only the agents named, in the clusters that are then left. */
export function smallTopology(agents: readonly string[]): Topology {
  const clusters = DEMO_TOPOLOGY.clusters
    .map((cluster) => ({ ...cluster, agents: cluster.agents.filter((agent) => agents.includes(agent.name)) }))
    .filter((cluster) => cluster.agents.length > 0);
  return { ...DEMO_TOPOLOGY, clusters };
}

export function clusterOf(topology: Topology, name: string): ClusterPlan {
  const cluster = topology.clusters.find((c) => c.name === name);
  if (cluster === undefined) throw new Error(`no cluster ${name} in this topology`);
  return cluster;
}
