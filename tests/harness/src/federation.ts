// One federation for one test: started, watched, and gone when the test ends, with the logs shown if it failed.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SuiteContext, TestContext } from 'node:test';
import { DEMO_TOPOLOGY, demoPaths, type DemoPaths, type Federation, lastLines, openFederation, openSupervisor, planPorts, startDemo, type StoreKind, type Supervisor, type Topology } from '@isthmus/cli/demo';
import { type Link, startLink } from './link.ts';
import { reservePorts } from './ports.ts';

export type TestFederationOptions = {
  readonly topology?: Topology;
  readonly store?: StoreKind;
  /** Puts a link that can be cut in front of each cluster's gateway, as other clusters reach it. */
  readonly links?: boolean;
  /** Gives clusters other addresses to be reached by, once their gateways’ ports are known; before anything starts. */
  readonly reachedBy?: (gatewayPort: (cluster: string) => number) => Promise<Readonly<Record<string, string>>>;
  /** Starts an admin API in each cluster too. */
  readonly adminApi?: boolean;
  /** By process: settings over the ones the harness makes. */
  readonly settings?: (name: string) => object;
  /** False leaves all processes to the test to start. */
  readonly start?: boolean;
};

export interface TestFederation {
  readonly federation: Federation;
  readonly supervisor: Supervisor;
  readonly topology: Topology;
  readonly paths: DemoPaths;
  /** By cluster name: the way other clusters take to it. */
  readonly links: ReadonlyMap<string, Link>;
  /** Lines of one process's log. */
  log(name: string, lines?: number): string;
  /** Ends everything; called by itself when the test ends. */
  close(options?: { readonly showLogs?: boolean }): Promise<void>;
}

/**
 * Starts a federation and resolves when all of it is ready. With a test context it closes when that test ends; without,
 * the caller closes it (in `after`).
 */
export async function startFederation(options: TestFederationOptions = {}, t?: TestContext | SuiteContext): Promise<TestFederation> {
  const topology = options.topology ?? DEMO_TOPOLOGY;
  const paths = demoPaths(mkdtempSync(join(tmpdir(), 'isthmus-e2e-')));
  const supervisor = openSupervisor();
  const ports = planPorts(topology, await reservePorts());
  const links = new Map<string, Link>();
  if (options.links === true) for (const cluster of topology.clusters) links.set(cluster.name, await startLink(ports[`${cluster.name}-gateway`] ?? 0));
  const federation = openFederation({
    topology,
    ports,
    paths,
    supervisor,
    store: options.store ?? 'embedded',
    adminApi: options.adminApi ?? false,
    ...(options.settings && { settings: options.settings }),
    gatewayAddresses: {
      ...Object.fromEntries([...links].map(([cluster, link]) => [cluster, `127.0.0.1:${link.port}`])),
      ...(await options.reachedBy?.((cluster) => ports[`${cluster}-gateway`] ?? 0)),
    },
  });
  let closed = false;
  const close = async ({ showLogs = false } = {}): Promise<void> => {
    if (closed) return;
    closed = true;
    federation.close();
    await supervisor.close();
    await Promise.all([...links.values()].map((link) => link.close()));
    if (showLogs) printLogs(paths);
    rmSync(paths.root, { recursive: true, force: true });
    rmSync(paths.runDir, { recursive: true, force: true });
  };
  if (t !== undefined && 'after' in t) t.after(() => close({ showLogs: 'passed' in t && t.passed === false }));
  const made = { federation, supervisor, topology, paths, links, close, log: (name: string, lines = 1_000) => lastLines(paths.log(name), lines) };
  if (options.start === false) return made;
  try {
    await startDemo(federation).ready;
    return made;
  } catch (error) {
    await close({ showLogs: true });
    throw error;
  }
}

function printLogs(paths: DemoPaths): void {
  for (const file of readdirSync(paths.logsDir)) process.stderr.write(`--- ${file}\n${lastLines(join(paths.logsDir, file), 15)}\n`);
}
