// Starts federations of real processes for tests: own ports and directory each, links that can be cut, waits with limits, clean ends.
export { startFederation, type TestFederation, type TestFederationOptions } from './federation.ts';
export { type Link, startLink } from './link.ts';
export { openOperator, type Operator } from './operator.ts';
export { reservePorts } from './ports.ts';
export { openClusterStore } from './store.ts';
export { isthmus, isthmusProcess } from './run.ts';
export { clusterOf, smallTopology } from './topology.ts';
export {
  type Answer,
  AS_AGENT,
  appMain,
  type BareRoot,
  type BootedRoot,
  bootRoot,
  DEMO_OPERATOR,
  askOverTls,
  type Federation,
  findProgram,
  type Finished,
  foreignSvid,
  makeBareRoot,
  makePackages,
  moduleOf,
  openProbeCluster,
  openTrustTraffic,
  outboundOf,
  type Outcome,
  portNames,
  type ProbeCluster,
  names,
  request,
  run,
  startLoad,
  type TrustTraffic,
  waitFor,
  whyNoBareRoot,
  whyNoBoot,
  DEMO_TOPOLOGY,
  FEDERATION,
  LEDGER,
  PAYMENTS,
  VAULT,
} from '@isthmus/cli/demo';
