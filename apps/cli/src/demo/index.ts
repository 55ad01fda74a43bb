// What tests use of the demo: the same processes, started the same way.
export { DEMO_OPERATOR, type DemoGrant } from './config.ts';
export { demoPaths, type DemoPaths } from './paths.ts';
export { type Federation, type FederationOptions, openFederation, outboundOf, type StoreKind } from './federation.ts';
export { appMain, lastLines, type ManagedProcess, moduleOf } from './process.ts';
export { checkPortsFree } from './ports.ts';
export { startDemo } from './start.ts';
export { openSupervisor, type Supervisor, waitFor } from './supervisor.ts';
export { type Answer, type Load, type LoadFacts, type Outcome, request, startLoad } from './traffic.ts';
export { type AgentPlan, type ClusterPlan, DEMO_TOPOLOGY, FEDERATION, LEDGER, names, PAYMENTS, planPorts, portNames, type Ports, type Topology, VAULT } from './topology.ts';
export { askOverTls, type TlsOutcome } from './tour/certificate-steps.ts';
export { openTrustTraffic, type TrustTraffic } from './tour/trust-traffic.ts';
export { foreignSvid, openProbeCluster, type ProbeCluster } from './tour/probe-cluster.ts';
export { findProgram, type Finished, run, type RunOptions } from './run.ts';
export { AS_AGENT, type BareRoot, makeBareRoot, whyNoBareRoot } from './vm/bare-root.ts';
export { type BootedRoot, bootRoot, whyNoBoot } from './vm/booted-root.ts';
export { makePackages } from './vm/packages.ts';
