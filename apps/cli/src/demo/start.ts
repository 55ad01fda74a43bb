// Starts the whole demo, as much at once as dependencies allow, and says of each part when it stands.
import { systemClock } from '@isthmus/runtime';
import { type Federation, outboundOf } from './federation.ts';
import type { ManagedProcess } from './process.ts';
import { waitFor } from './supervisor.ts';
import { type ClusterPlan, LEDGER, PAYMENTS } from './topology.ts';
import { request } from './traffic.ts';

/** One part of the start: what it is, and what to say when it stands. */
export type Phase = { readonly title: string; readonly done: Promise<string> };

export type Start = {
  readonly phases: readonly Phase[];
  /** Resolves when every phase is done; rejects with the first that failed. */
  readonly ready: Promise<void>;
  /** When the first request was answered across clusters, on the monotonic clock. */
  readonly firstCrossClusterAnswer: Promise<{ readonly atMonotonicMs: number }>;
};

const ANSWER_LIMIT_MS = 30_000;

/** Starts everything; the machine the demo looks from is vm-1. */
export function startDemo(federation: Federation): Start {
  const { topology } = federation.options;
  const trustRoot = federation.startTrustRoot();
  const perCluster = topology.clusters.map((cluster) => startCluster(federation, cluster, trustRoot));
  const firstCrossClusterAnswer = Promise.all(perCluster.map((c) => c.agents)).then(async () => {
    await waitFor('an answer of shop/ledger, which only west has', ANSWER_LIMIT_MS, async () => {
      const outcome = await request(outboundOf(federation, 'vm-1', LEDGER));
      if (!outcome.ok) throw new Error(outcome.why);
      return outcome;
    });
    return { atMonotonicMs: systemClock.monotonicMs() };
  });
  const answers = firstCrossClusterAnswer.then(async () => {
    const outcome = await waitFor('an answer of shop/payments', ANSWER_LIMIT_MS, async () => {
      const now = await request(outboundOf(federation, 'vm-1', PAYMENTS));
      if (!now.ok) throw new Error(now.why);
      return now;
    });
    return `payments answered from ${outcome.cluster} (${outcome.instance})`;
  });
  const phases: Phase[] = [
    { title: 'trust root', done: trustRoot.then(describe(federation, 'trust-root')) },
    ...perCluster.flatMap((c) => c.phases),
    { title: 'requests from vm-1', done: answers },
  ];
  const ready = Promise.all(phases.map((phase) => phase.done)).then(() => undefined);
  // Each is looked at where it is awaited; none may end the process before that.
  for (const promise of [ready, firstCrossClusterAnswer, ...phases.map((p) => p.done)]) promise.catch(() => undefined);
  return { phases, ready, firstCrossClusterAnswer };
}

function startCluster(federation: Federation, cluster: ClusterPlan, trustRoot: Promise<ManagedProcess>): { readonly phases: Phase[]; readonly agents: Promise<unknown> } {
  const workloads = Promise.all(cluster.agents.flatMap((agent) => (agent.workload === undefined ? [] : [federation.startWorkload(cluster, agent.workload)])));
  const controlPlane = trustRoot.then(() => federation.startControlPlane(cluster));
  const declared = controlPlane.then(() => federation.declare(cluster));
  const gateway = controlPlane.then(() => federation.startGateway(cluster));
  const agents = cluster.agents.map((agent) => ({
    agent,
    // What comes in through the gateway needs it to stand; the others dial the control plane itself.
    started: (agent.attach === 'gateway' ? gateway : controlPlane).then(() => federation.startAgent(cluster, agent)),
  }));
  const local = agents.filter(({ agent }) => agent.attach === 'control-plane');
  const phases: Phase[] = [
    { title: `${cluster.name}: control plane`, done: controlPlane.then(describe(federation, `${cluster.name}-control-plane`)) },
    { title: `${cluster.name}: services and exports`, done: declared.then(() => `${cluster.services.length} services, ${cluster.exports.length} exported`) },
    { title: `${cluster.name}: gateway`, done: gateway.then(describe(federation, `${cluster.name}-gateway`)) },
    ...(federation.options.adminApi === true
      ? [{ title: `${cluster.name}: admin API`, done: controlPlane.then(() => federation.startAdminApi(cluster)).then(describe(federation, `${cluster.name}-admin-api`)) }]
      : []),
    {
      title: `${cluster.name}: agents and workloads`,
      done: Promise.all([workloads, ...local.map((a) => a.started)]).then(() => local.map(({ agent }) => `${agent.name} beside ${agent.workload?.instance}`).join(', ')),
    },
    ...agents
      .filter(({ agent }) => agent.attach === 'gateway')
      .map(({ agent, started }) => ({ title: agent.name, done: started.then(() => `outside both clusters, attached through the gateway of ${cluster.name}`) })),
  ];
  return { phases, agents: Promise.all([declared, workloads, ...agents.map((a) => a.started)]) };
}

function describe(federation: Federation, name: string) {
  return (child: ManagedProcess): string => `127.0.0.1:${federation.port(name)}, ready in ${Math.round(child.readyAfterMs)} ms`;
}
