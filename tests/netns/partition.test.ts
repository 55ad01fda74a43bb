// Real hosts: trust root, two clusters and a VM, each in a network namespace of its own; the link between the clusters is
// cut without a word and healed again.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { appMain, waitFor } from '@isthmus/harness';
import { admin, agent, call, openChannel, type RpcChannel, trust } from '@isthmus/rpc';
import { silentLog } from '@isthmus/telemetry';
import { makeNetwork, type Network, whyNoHosts } from './network.ts';

const skip = whyNoHosts() ?? false;
const FEDERATION = 'hosts.isthmus.example';
const GATEWAY_PORT = 15_443;
const APP_PORT = 8_000;
const INBOUND_PORT = 9_000;
const OUTBOUND = { payments: 7_001, ledger: 7_002 } as const;
const SAMPLE = fileURLToPath(new URL('../../apps/cli/src/demo/sample-workload.ts', import.meta.url));
const PROBE = fileURLToPath(new URL('./probe.ts', import.meta.url));

let network: Network;
let directory: string;
const children: ChildProcess[] = [];
const channels = new Map<string, RpcChannel>();

function start(host: string, name: string, program: string, args: readonly string[], onLine: (line: string) => void): ChildProcess {
  const [command, all] = network.on(host, [process.execPath, program, ...args]);
  const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(join(directory, `${name}.log`));
  child.stdout.pipe(log);
  child.stderr.pipe(log);
  createInterface({ input: child.stdout }).on('line', onLine);
  children.push(child);
  return child;
}

/** Starts one of the apps with its configuration and waits until it says that it is ready. */
async function startApp(host: string, name: string, app: Parameters<typeof appMain>[0], config: object): Promise<void> {
  const file = join(directory, `${name}.yaml`);
  writeFileSync(file, JSON.stringify({ stateDir: join(directory, name), adminSocket: socket(name), ...config }));
  let isReady = false;
  const child = start(host, name, appMain(app), ['--config', file], (line) => (isReady ||= line.includes('"msg":"ready"')));
  await waitFor(`${name} to be ready`, 30_000, () => {
    if (child.exitCode !== null) throw new Error(readFileSync(join(directory, `${name}.log`), 'utf8').slice(-2_000));
    return isReady ? true : undefined;
  });
}

const socket = (name: string): string => join(directory, `${name}.sock`);
const limit = { timeoutMs: 5_000 };

function channel(name: string): RpcChannel {
  let open = channels.get(name);
  if (open === undefined) channels.set(name, (open = openChannel({ address: `unix:${socket(name)}`, log: silentLog() })));
  return open;
}

function adminOf(cluster: string): admin.AdminClient {
  return channel(`${cluster}-control-plane`).client(admin.AdminClient);
}

async function list(cluster: string, kind: string): Promise<Record<string, unknown>[]> {
  const client = adminOf(cluster);
  const { documents } = await call(client.list.bind(client), { kind, namespace: '', after: '', limit: 0 }, limit);
  return documents.map((d) => JSON.parse(d.toString()) as Record<string, unknown>);
}

function tokenFile(name: string, token: string): string {
  const file = join(directory, `${name}.token`);
  writeFileSync(file, token, { mode: 0o600 });
  return file;
}

async function joinToken(cluster: string, name: string, role: string, services: string[]): Promise<string> {
  const client = adminOf(cluster);
  return tokenFile(name, (await call(client.createJoinToken.bind(client), { agent: name, role, services, ttlSeconds: 600, write: undefined }, limit)).token);
}

async function startCluster(cluster: 'east' | 'west', services: readonly string[]): Promise<void> {
  const host = network.address(cluster);
  const root = channel('trust-root').client(trust.TrustRootAdminClient);
  const { token } = await call(root.createClusterToken.bind(root), { cluster, ttlSeconds: 600, replace: false }, limit);
  const controlPlane = `${cluster}-control-plane`;
  await startApp(cluster, controlPlane, 'control-plane', {
    cluster, federation: FEDERATION, locality: cluster, gateways: [`${host}:${GATEWAY_PORT}`], listen: { host, port: 7_100 },
    trustRoot: { address: `${network.address('root')}:7000` }, bootstrapTokenFile: tokenFile(controlPlane, token), store: { kind: 'embedded', port: 2_379 },
  });
  const client = adminOf(cluster);
  for (const name of services) {
    for (const document of [{ kind: 'service', namespace: 'shop', name, ports: [{ name: 'http', port: 80, protocol: 'http' }] }, { kind: 'export', namespace: 'shop', name, consumers: 'all' }]) {
      await call(client.apply.bind(client), { document: Buffer.from(JSON.stringify(document)), write: undefined }, limit);
    }
  }
  const address = `${host}:7100`;
  await startApp(cluster, `${cluster}-gateway`, 'gateway', {
    server: { address }, joinTokenFile: await joinToken(cluster, `${cluster}-gateway`, 'gateway', []), network: cluster, listen: { host, port: GATEWAY_PORT },
    reserved: { 'control-plane': address, store: address, 'trust-root': `${network.address('root')}:7000` },
  });
  start(cluster, `${cluster}-app`, SAMPLE, [String(APP_PORT), cluster, 'payments-1'], () => undefined);
  await startAgent(cluster, cluster, address, services);
}

async function startAgent(host: string, cluster: string, server: string, services: readonly string[]): Promise<void> {
  const name = `${host}-agent`;
  await startApp(host, name, 'agent', {
    server: { address: server }, network: host, locality: host,
    joinTokenFile: await joinToken(cluster, name, 'agent', [...services.map((s) => `shop/${s}`), 'shop/web']),
    identity: { callAs: 'shop/web' },
    inbound: { host: network.address(host) },
    outbound: { listeners: Object.entries(OUTBOUND).map(([service, port]) => ({ service: `shop/${service}`, portName: 'http', protocol: 'http', port })) },
    workloads: services.map((service, i) => ({
      kind: 'workload', namespace: 'shop', service, instance: 'payments-1', ports: { http: APP_PORT }, inbound: { http: INBOUND_PORT + i },
      healthCheck: { kind: 'http', path: '/healthz', intervalMs: 250 },
    })),
  });
}

/** Requests without end from a host, one after the other; what came back by now. */
function startProbe(host: string, port: number): { readonly ok: () => number; readonly failures: () => readonly string[]; readonly last: () => string; readonly stop: () => void } {
  let ok = 0;
  let last = '';
  const failures: string[] = [];
  const child = start(host, `${host}-probe-${port}`, PROBE, [`http://127.0.0.1:${port}/`], (line) => {
    const answer = JSON.parse(line) as { ok: boolean; detail: string };
    if (answer.ok) {
      ok += 1;
      last = answer.detail;
    } else failures.push(answer.detail);
  });
  return { ok: () => ok, failures: () => failures, last: () => last, stop: () => void child.kill('SIGKILL') };
}

before(
  async () => {
    if (skip !== false) return;
    directory = mkdtempSync(join(tmpdir(), 'isthmus-netns-'));
    mkdirSync(directory, { recursive: true });
    network = makeNetwork(['root', 'east', 'west', 'vm'], [['root', 'east'], ['root', 'west'], ['east', 'west'], ['vm', 'east'], ['vm', 'west']]);
    await startApp('root', 'trust-root', 'trust-root', { federation: FEDERATION, listen: { host: network.address('root'), port: 7_000 } });
    await startCluster('east', ['payments']);
    await startCluster('west', ['payments', 'ledger']);
    await startAgent('vm', 'east', `${network.address('east')}:${GATEWAY_PORT}`, []);
  },
  { timeout: 120_000 },
);

after(() => {
  if (skip !== false) return;
  for (const open of channels.values()) open.close();
  for (const child of children) child.kill('SIGKILL');
  network.remove();
  rmSync(directory, { recursive: true, force: true });
});

test('a black hole between two clusters loses nothing that is local, is told as stale with its age, and heals by itself', { skip, timeout: 120_000 }, async (t) => {
  const probes = { vmToLedger: startProbe('vm', OUTBOUND.ledger), vmToPayments: startProbe('vm', OUTBOUND.payments), eastToPayments: startProbe('east', OUTBOUND.payments) };
  // Until the first answer of each the listeners may still learn of their services.
  await waitFor('answers on every path', 30_000, () => (Object.values(probes).every((p) => p.ok() > 20) ? true : undefined));
  assert.match(probes.vmToLedger.last(), /west/, 'the VM reaches what only west has, through west’s gateway');
  assert.match(probes.vmToPayments.last(), /east/, 'and prefers the cluster it belongs to');
  const before_ = Object.values(probes).map((p) => p.failures().length);

  for (const [cluster, peer] of [['east', 'west'], ['west', 'east']] as const) {
    await waitFor(`${cluster} to call ${peer} fresh`, 30_000, async () => ((await list(cluster, 'peer')).some((p) => p['cluster'] === peer && p['state'] === 'fresh') ? true : undefined));
  }
  network.cut('east', 'west');
  const stale = await waitFor('west to be stale in east’s eyes', 40_000, async () => (await list('east', 'peer')).find((p) => p['cluster'] === 'west' && p['state'] === 'stale'));
  assert.ok(Number(stale['ageMs']) >= 15_000, 'with its age');
  await waitFor('east to be stale in west’s eyes', 20_000, async () => ((await list('west', 'peer')).some((p) => p['cluster'] === 'east' && p['state'] === 'stale') ? true : undefined));
  const imported = (await list('east', 'import')).filter((i) => i['cluster'] === 'west');
  assert.deepEqual(imported.map((i) => [i['name'], i['readyCount']]).toSorted(), [['ledger', 1], ['payments', 1]], 'west’s last known state stays in service');

  // What changes in west now is for east to learn after healing.
  const westAgent = channel('west-agent').client(agent.ProxyAdminClient);
  await call(westAgent.setDraining.bind(westAgent), { namespace: 'shop', service: 'payments', instance: 'payments-1', draining: true }, limit);
  const during = Object.values(probes).map((p) => p.ok());
  await waitFor('traffic during the cut', 10_000, () => (Object.values(probes).every((p, i) => p.ok() > (during[i] ?? 0) + 50) ? true : undefined));
  assert.deepEqual(Object.values(probes).map((p) => p.failures().length), before_, 'no request failed: local ones stay local, the VM has its own way to west');

  network.heal('east', 'west');
  const healedAtMs = performance.now();
  await waitFor('east to know west’s change and call it fresh', 40_000, async () => {
    const [peers, imports] = await Promise.all([list('east', 'peer'), list('east', 'import')]);
    const payments = imports.find((i) => i['cluster'] === 'west' && i['name'] === 'payments');
    return peers.some((p) => p['cluster'] === 'west' && p['state'] === 'fresh') && payments?.['readyCount'] === 0 ? true : undefined;
  });
  t.diagnostic(`converged ${Math.round(performance.now() - healedAtMs)} ms after healing; ${Object.values(probes).reduce((sum, p) => sum + p.ok(), 0)} requests, none failed`);
  assert.deepEqual(Object.values(probes).map((p) => p.failures().length), before_);
  for (const probe of Object.values(probes)) probe.stop();
  await call(westAgent.setDraining.bind(westAgent), { namespace: 'shop', service: 'payments', instance: 'payments-1', draining: false }, limit);
  await waitFor('east to know that payments of west serves again', 30_000, async () => ((await list('east', 'import')).some((i) => i['cluster'] === 'west' && i['name'] === 'payments' && i['readyCount'] === 1) ? true : undefined));
});

test('a black hole between a VM and its own gateway: requests in flight end, the next ones go to the other cluster, and come back', { skip, timeout: 120_000 }, async (t) => {
  const probe = startProbe('vm', OUTBOUND.payments);
  let isCut = false;
  try {
    await waitFor('answers from east', 30_000, () => (probe.ok() > 20 && /east/.test(probe.last()) ? true : undefined));
    const failedBefore = probe.failures().length;
    network.cut('vm', 'east');
    isCut = true;
    const cutAtMs = performance.now();
    await waitFor('answers from west', 30_000, () => (/west/.test(probe.last()) ? true : undefined));
    t.diagnostic(`answered by west ${Math.round(performance.now() - cutAtMs)} ms after the cut; failed: ${JSON.stringify(probe.failures().slice(failedBefore))}`);
    assert.ok(probe.failures().length - failedBefore <= 2, `failed: ${JSON.stringify(probe.failures().slice(failedBefore))}`);
    const since = probe.ok();
    await waitFor('steady answers while cut', 30_000, () => (probe.ok() > since + 100 ? true : undefined));
    network.heal('vm', 'east');
    isCut = false;
    await waitFor('answers from east again', 40_000, () => (/east/.test(probe.last()) ? true : undefined));
  } finally {
    if (isCut) network.heal('vm', 'east');
    probe.stop();
  }
});
