// Real hosts: trust root, two clusters and a VM, each in a network namespace of its own; the link between the clusters is
// cut without a word and healed again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@isthmus/harness';
import { agent, call } from '@isthmus/rpc';
import { CALL_LIMIT, GATEWAY_PORT, Hosts } from './hosts.ts';
import { type Network, whyNoHosts } from './network.ts';

const skip = whyNoHosts() ?? false;
const OUTBOUND = { payments: 7_001, ledger: 7_002 } as const;
const PROBE = fileURLToPath(new URL('./probe.ts', import.meta.url));
const PORTS = [{ name: 'http', port: 80, protocol: 'http' }];

let hosts: Hosts;
let network: Network;

const list = (cluster: string, kind: string): Promise<Record<string, unknown>[]> => hosts.list(cluster, kind);

async function startCluster(cluster: 'east' | 'west', services: readonly string[]): Promise<void> {
  await hosts.startCluster(cluster, services.map((name) => ({ name, ports: PORTS })));
  hosts.startApplication(cluster);
  await startAgent(cluster, cluster, hosts.controlPlane(cluster), services);
}

async function startAgent(host: string, cluster: string, server: string, services: readonly string[]): Promise<void> {
  const listeners = Object.entries(OUTBOUND).map(([service, port]) => ({ service: `shop/${service}`, portName: 'http', protocol: 'http', port }));
  await hosts.startAgent(host, { cluster, server, services, config: { outbound: { listeners } } });
}

/** Requests without end from a host, one after the other; what came back by now. */
function startProbe(host: string, port: number): { readonly ok: () => number; readonly failures: () => readonly string[]; readonly last: () => string; readonly stop: () => void } {
  let ok = 0;
  let last = '';
  const failures: string[] = [];
  const child = hosts.start(host, `${host}-probe-${port}`, PROBE, [`http://127.0.0.1:${port}/`], (line) => {
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
    hosts = new Hosts(['root', 'east', 'west', 'vm'], [['root', 'east'], ['root', 'west'], ['east', 'west'], ['vm', 'east'], ['vm', 'west']]);
    ({ network } = hosts);
    await hosts.startTrustRoot();
    await startCluster('east', ['payments']);
    await startCluster('west', ['payments', 'ledger']);
    await startAgent('vm', 'east', `${network.address('east')}:${GATEWAY_PORT}`, []);
  },
  { timeout: 120_000 },
);

after(() => {
  if (skip === false) hosts.close();
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
  const westAgent = hosts.channel('west-agent').client(agent.ProxyAdminClient);
  await call(westAgent.setDraining.bind(westAgent), { namespace: 'shop', service: 'payments', instance: 'payments-1', draining: true }, CALL_LIMIT);
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
  await call(westAgent.setDraining.bind(westAgent), { namespace: 'shop', service: 'payments', instance: 'payments-1', draining: false }, CALL_LIMIT);
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
