// The workloads beside this agent: their files, inbound listeners, health, and what the control plane is told of them.
import { readdir, readFile } from 'node:fs/promises';
import { join as joinPath } from 'node:path';
import { type HealthChecks, type HostedListener, type Proxies, startHealthChecks } from '@isthmus/dataplane';
import type { Identity } from '@isthmus/identity';
import { formatProblems, formatServiceName, type Health, messageOf, parseWorkload, type Problem, type Registration, type ServiceName, type ServiceView, type Workload } from '@isthmus/model';
import { parseYaml } from '@isthmus/runtime';
import type { Config } from './config.ts';
import { fail } from './errors.ts';
import type { Knowledge, ListeningParts, Parts } from './join.ts';

/** A workload and the inbound ports its entry asks for; `locality` where it is not this agent's. */
export type PlannedWorkload = { readonly workload: Workload; readonly inbound: Readonly<Record<string, number>>; readonly locality?: string };

/**
 * The workloads of the configuration and of its directory. A file that cannot be used is logged with its line and left
 * out; the others go on. **Throws** AGENT_WORKLOAD_INVALID when two entries name the same instance of one service.
 */
export async function loadWorkloads(config: Config, log: Parts['log']): Promise<readonly PlannedWorkload[]> {
  const planned: PlannedWorkload[] = (config.workloads ?? []).map(({ inbound, ...workload }) => ({ workload, inbound: inbound ?? {} }));
  for (const file of config.workloadsDir === undefined ? [] : await yamlFilesIn(config.workloadsDir)) {
    const loaded = await loadFile(file);
    if ('problem' in loaded) log.error('workload file refused', { file, detail: loaded.problem });
    else planned.push(...loaded.workloads.map((workload) => ({ workload, inbound: {} })));
  }
  const seen = new Set<string>();
  for (const { workload } of planned) {
    const name = nameOf(workload);
    if (seen.has(name)) throw fail('AGENT_WORKLOAD_INVALID', `workload ${name} is given twice`);
    seen.add(name);
  }
  return planned;
}

async function yamlFilesIn(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    throw fail('AGENT_WORKLOAD_INVALID', `cannot read workloadsDir ${directory}: ${messageOf(error)}`, { cause: error });
  });
  return names.filter((name) => /\.ya?ml$/.test(name)).sort().map((name) => joinPath(directory, name));
}

/** Every document of one file; a file with any problem gives none. */
async function loadFile(file: string): Promise<{ readonly workloads: readonly Workload[] } | { readonly problem: string }> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    return { problem: messageOf(error) };
  }
  const yaml = parseYaml(text, file);
  if (!yaml.ok) return { problem: formatProblems(yaml.problems) };
  const workloads: Workload[] = [];
  const problems: Problem[] = [];
  for (const document of yaml.value) {
    const parsed = parseWorkload(document.value);
    if (parsed.ok) workloads.push(parsed.value);
    else problems.push(...parsed.problems.map((p) => ({ path: `${file}:${document.lineOf(p.path)}${p.path === '' ? '' : ` ${p.path}`}`, message: p.message })));
  }
  return problems.length > 0 ? { problem: formatProblems(problems) } : { workloads };
}

export type WorkloadStatus = {
  readonly namespace: string;
  readonly service: string;
  readonly instance: string;
  readonly health: Health;
  readonly detail: string;
  readonly inbound: Readonly<Record<string, { readonly host: string; readonly port: number; readonly connections: number }>>;
};

export interface Workloads {
  status(): readonly WorkloadStatus[];
  /** The data path could not connect to an application: faster than the next probe. */
  applicationDown(service: ServiceName, instance: string, error: Error): void;
  /** **Throws** AGENT_WORKLOAD_UNKNOWN. */
  setDraining(service: ServiceName, instance: string, draining: boolean): void;
  /** One more, from somewhere else than files; `told` is what is said of it there. **Throws** DATAPLANE_LISTEN_FAILED. */
  add(planned: PlannedWorkload, told: Health): Promise<void>;
  /** What is said of one that was added: the worse of this and its own check counts. */
  tell(service: ServiceName, instance: string, told: Health): void;
  /** Takes one back that was added; its connections may go on for `drainMs`. */
  withdraw(service: ServiceName, instance: string): Promise<void>;
  /** Says draining first, so that callers turn elsewhere; then lets requests end for so long; then withdraws the registrations. */
  close(drainMs: number): Promise<void>;
}

type Running = {
  readonly workload: Workload;
  readonly inbound: ReadonlyMap<string, HostedListener>;
  readonly checks: HealthChecks;
  readonly hasIdentity: () => boolean;
  readonly locality: string | undefined;
  told: Health;
  readonly stop: () => void;
};

/** Time for "draining" to reach callers before connections are asked to leave. */
const DRAIN_NOTICE_MS = 250;

/** Within the control plane's grace for agents that are silent. */
const JUDGE_LIMIT_MS = 5_000;
const JUDGE_LOOK_MS = 20;

/** Opens the inbound listeners, starts the checks and registers everything. **Throws** DATAPLANE_LISTEN_FAILED naming the port. */
export async function startWorkloads(config: Config, planned: readonly PlannedWorkload[], identity: Identity, knowledge: Knowledge, proxies: Proxies, parts: ListeningParts): Promise<Workloads> {
  const host = config.inbound?.host ?? '127.0.0.1';
  const ports = portTaker(config.inbound?.portRange);
  const running: Running[] = [];
  let reporting = false;
  let stopDrain = (): void => undefined;

  const report = (): void => {
    if (reporting) knowledge.subscription.report(running.map((r) => registrationOf(r, config, identity, host, isWanted(r))));
  };

  /** The cluster's word, beside that of this machine's operator: either drains. */
  const isWanted = (r: Running): boolean => knowledge.drain.covers(nameOf(r.workload));

  const find = (service: ServiceName, instance: string): Running | undefined => running.find((r) => isOf(r, service) && r.workload.instance === instance);

  async function withdraw(r: Running): Promise<void> {
    running.splice(running.indexOf(r), 1);
    report();
    await Promise.all([...r.inbound.values()].map((listener) => listener.close({ drainMs: config.drainMs ?? 5_000 })));
    r.stop();
  }

  async function startOne({ workload, inbound: wanted, locality }: PlannedWorkload, told: Health = 'healthy'): Promise<Running> {
    const service = { namespace: workload.namespace, name: workload.service };
    const svids = identity.serviceSvids(service);
    const inbound = new Map<string, HostedListener>();
    const checks = startHealthChecks({ workload, onChange: report, ...parts });
    const unfollow = svids.onChange(report);
    const one: Running = {
      workload,
      inbound,
      checks,
      hasIdentity: () => svids.current() !== undefined,
      locality,
      told,
      stop: () => {
        checks.close();
        unfollow();
      },
    };
    running.push(one);
    for (const [portName, port] of Object.entries(workload.ports)) {
      const fixed = wanted[portName];
      const listener = await ports(fixed, (listenPort) =>
        proxies.inbound({
          listen: { host, port: listenPort, sharesPort: parts.sharesPort },
          service,
          instance: workload.instance,
          port: portName,
          application: { host: workload.host ?? '127.0.0.1', port },
          svids: formatServiceName(service),
        }),
      );
      inbound.set(portName, listener);
    }
    return one;
  }

  const close = async (drainMs: number): Promise<void> => {
    stopDrain();
    for (const { checks } of running) checks.setDraining(true);
    if (running.length > 0 && reporting) await parts.clock.sleep(DRAIN_NOTICE_MS);
    await Promise.all(running.flatMap((r) => [...r.inbound.values()].map((listener) => listener.close({ drainMs }))));
    if (reporting) knowledge.subscription.report([]);
    reporting = false;
    for (const { stop } of running) stop();
  };

  /** A predecessor has told how its workloads are: the first word of its successor must not be that it does not know. */
  async function untilJudged(): Promise<void> {
    const untilMs = parts.clock.monotonicMs() + JUDGE_LIMIT_MS;
    const isKnown = (r: Running): boolean => r.hasIdentity() && r.checks.health() !== 'unknown';
    while (!running.every(isKnown) && parts.clock.monotonicMs() < untilMs) await parts.clock.sleep(JUDGE_LOOK_MS);
  }

  try {
    for (const plan of planned) await startOne(plan);
    if (parts.sharesPort === 'joins') await untilJudged();
  } catch (error) {
    await close(0);
    throw error;
  }
  reporting = true;
  report();
  stopDrain = knowledge.drain.onDesired(report);
  knowledge.drain.follow({
    connections: () => running.filter(isWanted).reduce((sum, r) => sum + [...r.inbound.values()].reduce((n, listener) => n + listener.connections, 0), 0),
    problem: () => {
      const unknown = knowledge.drain.desired().workloads.filter((name) => !running.some((r) => nameOf(r.workload) === name));
      return unknown.length === 0 ? undefined : `no such workload here: ${unknown.join(', ')}`;
    },
  });

  return {
    status: () => running.map((r) => statusOf(r, isWanted(r))),
    applicationDown(service, instance, error) {
      find(service, instance)?.checks.reportDown(`the data path could not connect: ${error.message}`);
    },
    setDraining(service, instance, draining) {
      const found = running.find((r) => isOf(r, service) && (instance === '' || r.workload.instance === instance));
      if (found === undefined) throw fail('AGENT_WORKLOAD_UNKNOWN', `no workload ${formatServiceName(service)}/${instance} beside this agent`);
      found.checks.setDraining(draining);
    },
    async add(plan, told) {
      try {
        await startOne(plan, told);
      } catch (error) {
        const half = find({ namespace: plan.workload.namespace, name: plan.workload.service }, plan.workload.instance);
        if (half !== undefined) await withdraw(half);
        throw error;
      }
      report();
    },
    tell(service, instance, told) {
      const found = find(service, instance);
      if (found === undefined || found.told === told) return;
      found.told = told;
      report();
    },
    async withdraw(service, instance) {
      const found = find(service, instance);
      if (found !== undefined) await withdraw(found);
    },
    close,
  };
}

/** What the control plane is told. A workload without an SVID could not prove itself, so it is not offered yet. */
function registrationOf(r: Running, config: Config, identity: Identity, inboundHost: string, isDraining: boolean): Registration {
  return {
    namespace: r.workload.namespace,
    service: r.workload.service,
    instance: r.workload.instance,
    agent: identity.agent,
    address: config.advertise ?? inboundHost,
    inboundPorts: Object.fromEntries([...r.inbound].map(([name, listener]) => [name, listener.port])),
    network: config.network,
    locality: r.locality ?? config.locality,
    weight: r.workload.weight ?? 100,
    health: r.hasIdentity() ? healthOf(r, isDraining) : 'unknown',
    sequence: 0, // set by the subscription
  };
}

/** What is ending stays so, what anybody calls unhealthy is, and healthy is what both call so. */
function worse(told: Health, checked: Health): Health {
  if (told === 'healthy' || checked === 'unhealthy') return checked;
  return told;
}

function isOf({ workload }: Running, service: ServiceName): boolean {
  return workload.namespace === service.namespace && workload.service === service.name;
}

function healthOf(r: Running, isDraining: boolean): Health {
  return isDraining ? 'draining' : worse(r.told, r.checks.health());
}

function statusOf(r: Running, isDraining: boolean): WorkloadStatus {
  const { namespace, service, instance } = r.workload;
  const inbound = Object.fromEntries([...r.inbound].map(([name, l]) => [name, { host: l.host, port: l.port, connections: l.connections }]));
  return { namespace, service, instance, health: healthOf(r, isDraining), detail: r.checks.detail(), inbound };
}

/** The service as the snapshot in force has it. */
export function serviceView(knowledge: Knowledge, service: ServiceName): ServiceView | undefined {
  const resource = knowledge.subscription.snapshot().resources.get(`service/${formatServiceName(service)}`);
  return resource?.kind === 'service' ? resource : undefined;
}

/** Opens something on a fixed port, or on the first free one of a range, or on any. */
function portTaker(range: string | undefined) {
  const [from = 0, to = 0] = (range ?? '').split('-').map(Number);
  let next = from;
  return async <T>(fixed: number | undefined, open: (port: number) => Promise<T>): Promise<T> => {
    if (fixed !== undefined) return open(fixed);
    if (range === undefined) return open(0);
    let lastError: unknown;
    // Ports of workloads that went are free again, so it goes round.
    for (let tries = from; tries <= to; tries += 1) {
      const candidate = next;
      next = next >= to ? from : next + 1;
      try {
        return await open(candidate);
      } catch (error) {
        lastError = error;
      }
    }
    throw fail('AGENT_PORT_RANGE', `no free port left in inbound.portRange ${range}`, { cause: lastError });
  };
}

function nameOf(w: Workload): string {
  return `${w.namespace}/${w.service}/${w.instance}`;
}
