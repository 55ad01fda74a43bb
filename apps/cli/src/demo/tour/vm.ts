// The VM tour: the agent's packages on a bare Debian, one command to join, calls to each cluster and back, and a clean end.
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Resolver } from 'node:dns/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatServiceName, serviceDnsName, type ServiceName } from '@isthmus/model';
import { freePort, systemClock } from '@isthmus/runtime';
import { outboundOf } from '../federation.ts';
import { waitFor } from '../supervisor.ts';
import { LEDGER, names, PAYMENTS, WEB } from '../topology.ts';
import { request } from '../traffic.ts';
import { AS_AGENT, type BareRoot, makeBareRoot, whyNoBareRoot } from '../vm/bare-root.ts';
import { makePackages, whyNoPackages } from '../vm/packages.ts';
import { PERL_CLIENT, PERL_WORKLOAD } from '../vm/perl.ts';
import { walkStart } from './start-step.ts';
import { ms, need } from './step.ts';
import type { Walk } from './tours.ts';

const VM = 'vm-2';
const INSTANCE = 'payments-vm';
const STEP_LIMIT_MS = 60_000;

/** The VM while the tour walks. */
type Vm = { readonly root: BareRoot; readonly packages: string; readonly dnsPort: number; readonly applicationPort: number; agent: ChildProcess | undefined; application: ChildProcess | undefined };

const readyPackages = (): string | undefined => process.env['ISTHMUS_PACKAGES'];

/** Why this tour cannot be walked here, or undefined. */
export function whyNoVm(): string | undefined {
  return whyNoBareRoot() ?? whyNoPackages(readyPackages());
}

/** Walks it; nothing of the VM is left afterwards, however far it came. */
export async function walkVm(walk: Walk): Promise<void> {
  const { record } = walk;
  if (!(await walkStart(walk))) return;
  let vm: Vm | undefined;
  try {
    await record.step('vm-made', async () => {
      vm = await makeVm();
      need(!existsSync(join(vm.root.directory, 'usr/bin/isthmus')), 'it is not bare');
      return { detail: `a Debian with its essential packages only, in ${vm.root.directory}` };
    });
    if (vm !== undefined) await walkSteps(walk, vm);
  } finally {
    if (vm !== undefined) removeVm(vm);
  }
}

async function walkSteps(walk: Walk, vm: Vm): Promise<void> {
  const { record } = walk;
  if (!(await record.step('package-installs', () => install(walk, vm)))) return;
  if (!(await record.step('vm-joins', () => joinFederation(walk, vm)))) return;
  await record.step('vm-calls-each-cluster', () => callClusters(vm));
  await record.step('clusters-call-vm', () => callVm(walk, vm));
  await record.step('agent-status', () => showStatus(vm));
  await record.step('vm-leaves', () => leave(walk, vm));
  await record.step('package-uninstalls', () => uninstall(vm));
}

async function install(walk: Walk, { root, packages }: Vm) {
  const startedMonotonicMs = systemClock.monotonicMs();
  const files = readdirSync(packages).filter((name) => /^isthmus(-agent)?_.*_amd64\.deb$|^isthmus(-agent)?_.*_arm64\.deb$/.test(name)).sort();
  need(files.length === 2, `packages isthmus and isthmus-agent are to be in ${packages}, there is ${files.join(', ')}`);
  mkdirSync(join(root.directory, 'packages'));
  for (const name of files) copyFileSync(join(packages, name), join(root.directory, 'packages', name));
  await done(root, ['dpkg', '-i', ...files.map((name) => `/packages/${name}`)]);
  rmSync(join(root.directory, 'packages'), { recursive: true });
  need(!existsSync(join(root.directory, 'etc/isthmus/agent.yaml')), 'it is configured although nobody asked for that');
  const user = (await done(root, ['getent', 'passwd', 'isthmus'])).trim();
  const bytes = files.reduce((sum, name) => sum + statSync(join(packages, name)).size, 0);
  walk.record.figure('packageMiB', ms(bytes / 1_048_576));
  return { detail: `${files.join(' and ')}, ${ms(bytes / 1_048_576)} MiB, in ${ms((systemClock.monotonicMs() - startedMonotonicMs) / 1_000)} s; user ${user.split(':')[0] ?? ''}, nothing started` };
}

async function joinFederation({ federation, record }: Walk, vm: Vm) {
  const { root } = vm;
  const services = [WEB, PAYMENTS].map(formatServiceName);
  const { token } = await federation.admin('east').createJoinToken({ agent: VM, role: 'agent', services, ttlSeconds: 600 });
  const startedMonotonicMs = systemClock.monotonicMs();
  const server = `127.0.0.1:${federation.port(names.gateway('east'))}`;
  const said = await done(root, ['isthmus-agent', 'join', '--server', server, '--token-file', '-', '--call-as', formatServiceName(WEB), '--network', 'east', '--dns-port', String(vm.dnsPort), '--no-start'], token);
  writeFileSync(join(root.directory, 'etc/isthmus/workloads.d/payments.yaml'), `kind: workload\nnamespace: shop\nservice: payments\ninstance: ${INSTANCE}\nports: { http: ${vm.applicationPort} }\nhealthCheck: { kind: http, path: /healthz, intervalMs: 250 }\n`, { mode: 0o644 });
  vm.application = root.start(['perl', '-e', PERL_WORKLOAD, String(vm.applicationPort)]);
  vm.application.on('error', () => undefined);
  vm.agent = await startAgent(root);
  const joinMs = Math.round(systemClock.monotonicMs() - startedMonotonicMs);
  record.figure('vmJoinMs', joinMs);
  return { detail: `${said.split('\n')[0] ?? ''} (through ${server}); ready ${joinMs} ms after the command`, measured: { joinMs } };
}

/** What systemd does by its unit. */
async function startAgent(root: BareRoot): Promise<ChildProcess> {
  await done(root, ['install', '-d', '-o', 'isthmus', '-g', 'isthmus', '-m', '0700', '/var/lib/isthmus/agent']);
  const agent = root.start([...AS_AGENT, 'isthmus-agent', '--config', '/etc/isthmus/agent.yaml']);
  let said = '';
  for (const stream of [agent.stdout, agent.stderr]) stream?.on('data', (text: Buffer) => (said = `${said}${String(text)}`.slice(-20_000)));
  await waitFor('the agent of the VM to be ready', STEP_LIMIT_MS, () => {
    need(agent.exitCode === null, `the agent ended: ${said.slice(-1_000)}`);
    return said.includes('"msg":"ready"') ? true : undefined;
  });
  return agent;
}

async function callClusters(vm: Vm) {
  const seen: string[] = [];
  for (const [service, cluster] of [[PAYMENTS, 'east'], [LEDGER, 'west']] as const) {
    const { host, answer } = await waitFor(`an answer of ${formatServiceName(service)}`, STEP_LIMIT_MS, () => callByName(vm, service));
    need(answer.cluster === cluster, `${formatServiceName(service)} was answered by ${answer.cluster}`);
    need(answer.caller.includes('/ns/shop/svc/web'), `the caller was ${answer.caller}`);
    seen.push(`${serviceDnsName(service)} = ${host}: ${answer.cluster} ${answer.instance}`);
  }
  return { detail: `${seen.join('; ')}; both saw the VM as ${formatServiceName(WEB)}` };
}

type VmAnswer = { readonly cluster: string; readonly instance: string; readonly caller: string };

/** A name asked at the VM's own resolver, and a GET by the VM's own Perl. */
async function callByName({ root, dnsPort }: Vm, service: ServiceName): Promise<{ readonly host: string; readonly answer: VmAnswer }> {
  const resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${dnsPort}`]);
  const [host = ''] = await resolver.resolve4(serviceDnsName(service));
  const { cluster = '', instance = '', caller = '' } = JSON.parse(await done(root, ['perl', '-e', PERL_CLIENT, host, '80'])) as Partial<VmAnswer>;
  return { host, answer: { cluster, instance, caller } };
}

/** With every other instance gone, the one on the VM answers both clusters. */
async function callVm({ federation }: Walk, vm: Vm) {
  const { supervisor, topology } = federation.options;
  const others = topology.clusters.flatMap((cluster) => cluster.agents.flatMap((agent) => (agent.workload === undefined ? [] : [names.workload(cluster.name, agent.workload.instance)])));
  need(vm.application?.exitCode === null, 'the application of the VM ended');
  try {
    await Promise.all(others.map((name) => supervisor.kill(name)));
    for (const agent of ['east-1', 'west-1']) {
      await waitFor(`${agent} to be answered by the VM`, STEP_LIMIT_MS, async () => {
        const outcome = await request(outboundOf(federation, agent, PAYMENTS));
        if (!outcome.ok) throw new Error(outcome.why);
        return outcome.instance === INSTANCE ? outcome : undefined;
      });
    }
  } finally {
    await Promise.allSettled(others.map((name) => supervisor.restart(name)));
  }
  return { detail: `with all ${others.length} other instances killed, ${INSTANCE} answered callers in east and in west` };
}

async function showStatus({ root }: Vm) {
  const status = JSON.parse(await done(root, ['isthmus-agent', 'status', '--output', 'json'])) as { readonly connected: boolean; readonly identities: readonly { readonly spiffeId: string }[]; readonly workloads: readonly { readonly instance: string; readonly health: string }[] };
  const ids = status.identities.map((identity) => identity.spiffeId);
  need(status.connected, 'it says that no control plane is heard');
  need(ids.some((id) => id.endsWith(`/agent/${VM}`)), `identities: ${ids.join(', ')}`);
  need(status.workloads.some((workload) => workload.instance === INSTANCE && workload.health === 'healthy'), `workloads: ${JSON.stringify(status.workloads)}`);
  return { detail: `${ids.join(', ')}; ${INSTANCE} healthy` };
}

async function leave({ federation }: Walk, vm: Vm) {
  const { root, agent } = vm;
  need(agent !== undefined, 'no agent runs');
  const ended = new Promise<number | null>((resolve) => agent.once('exit', resolve));
  root.signal(agent, 'SIGTERM');
  const code = await Promise.race([ended, systemClock.sleep(STEP_LIMIT_MS).then(() => undefined)]);
  need(code === 0, `the agent ended with ${String(code)} on SIGTERM`);
  await waitFor('its workload to be withdrawn', STEP_LIMIT_MS, async () => ((await federation.admin('east').list('workload')).some((workload) => workload['instance'] === INSTANCE) ? undefined : true));
  const said = await done(root, ['isthmus-agent', 'leave', '--purge']);
  const { existed } = await federation.admin('east').delete('agent', '', VM);
  need(existed, `east knows no agent ${VM}`);
  const left = ['etc/isthmus/agent.yaml', 'etc/isthmus/agent.token', 'var/lib/isthmus/agent'].filter((path) => existsSync(join(root.directory, path)));
  need(left.length === 0, `left behind: ${left.join(', ')}`);
  return { detail: `${said.split('.')[0] ?? ''}; its workload is withdrawn, its right to come back is taken` };
}

async function uninstall({ root }: Vm) {
  await done(root, ['dpkg', '-P', 'isthmus-agent', 'isthmus']);
  // The operator's own file: dpkg keeps what it did not bring.
  rmSync(join(root.directory, 'etc/isthmus/workloads.d'), { recursive: true, force: true });
  const left = ['usr/bin/isthmus', 'usr/bin/isthmus-agent', 'usr/lib/isthmus', 'var/lib/isthmus', 'usr/lib/systemd/system/isthmus-agent.service'].filter((path) => existsSync(join(root.directory, path)));
  need(left.length === 0, `left behind: ${left.join(', ')}`);
  return { detail: 'programs, unit, configuration and state are gone' };
}

/** Runs a command in the VM and answers what it printed. **Throws** CLI_CHECK_FAILED with what it complained of. */
async function done(root: BareRoot, command: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await root.run(command, input === undefined ? {} : { input });
  need(code === 0, `${command.slice(0, 2).join(' ')} ended with ${String(code)}: ${stderr.trim().slice(-600)}`);
  return stdout;
}

async function makeVm(): Promise<Vm> {
  const ready = readyPackages();
  const packages = ready ?? mkdtempSync(join(tmpdir(), 'isthmus-packages-'));
  const [root, dnsPort, applicationPort] = await Promise.all([makeBareRoot(), freePort(), freePort(), ready === undefined ? makePackages(packages) : undefined]);
  return { root, packages, dnsPort, applicationPort, agent: undefined, application: undefined };
}

function removeVm({ root, packages, agent, application }: Vm): void {
  agent?.kill('SIGKILL');
  application?.kill('SIGKILL');
  root.remove();
  if (packages !== readyPackages()) rmSync(packages, { recursive: true, force: true });
}
