// The procedures of docs/operating/day-two.md: its commands, taken out of the page and run against one federation with requests flowing.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { appMain, clusterOf, type Finished, findProgram, LEDGER, moduleOf, names, outboundOf, PAYMENTS, portNames, request, reservePorts, run, smallTopology, startFederation, startLoad, type TestFederation, waitFor } from '@isthmus/harness';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs/operating/day-two.md'), 'utf8');
const skip = findProgram('etcd') === undefined || findProgram('etcdctl') === undefined ? 'no etcd and etcdctl on PATH (apt-get install etcd-server etcd-client)' : false;
const LIMIT_MS = 60_000;
const work = mkdtempSync(join(tmpdir(), 'isthmus-day-two-'));

let mesh: TestFederation;
let load: ReturnType<typeof startLoad>;
let watching: NodeJS.Timeout;
let dnsPort = 0;
const done = new Set<string>();

/** What the page calls its hosts, and the processes behind their units here. */
function processOf(host: string, unit: string): string {
  if (unit === 'etcd') return names.etcd(host);
  if (unit === 'isthmus-trust-root') return names.trustRoot;
  if (unit === 'isthmus-control-plane') return names.controlPlane(host);
  if (unit === 'isthmus-gateway') return names.gateway(host);
  return host;
}

const fileOf = (host: string, name: string): string => join(work, host, name);
const pidFile = (name: string): string => join(work, `${name}.pid`);
const isKnown = (name: string): boolean => mesh.supervisor.names().includes(name);

async function systemctl(host: string, verb: string, units: readonly string[]): Promise<void> {
  for (const unit of units) {
    const name = processOf(host, unit);
    if (verb === 'stop' || verb === 'disable') await mesh.supervisor.stop(name);
    else if (verb === 'reload') await reload(name);
    else if (host.startsWith('vm-') && !isKnown(name)) await startVm(host);
    else if (!isKnown(name)) await startNew(host, unit);
    else {
      if (verb === 'restart') await mesh.supervisor.stop(name);
      await mesh.supervisor.restart(name);
    }
  }
}

/** Hands over, as the unit's ExecReload does. */
async function reload(name: string): Promise<void> {
  const before = readFileSync(pidFile(name), 'utf8');
  process.kill(Number(before), 'SIGUSR2');
  await waitFor(`${name} to be handed over`, LIMIT_MS, () => (readFileSync(pidFile(name), 'utf8') === before ? undefined : true));
}

/** A program of the new cluster, with the token its operator brought. */
async function startNew(host: string, unit: string): Promise<void> {
  const cluster = clusterOf(mesh.topology, host);
  // Else the harness would make it a token of its own.
  writeFileSync(`${mesh.paths.config(processOf(host, unit))}.joined`, '');
  if (unit === 'isthmus-control-plane') await mesh.federation.startControlPlane(cluster);
  else await mesh.federation.startGateway(cluster);
}

async function startVm(host: string): Promise<void> {
  await mesh.supervisor.start({ name: host, command: process.execPath, args: [appMain('agent'), '--config', fileOf(host, 'agent.yaml')], logFile: mesh.paths.log(host), isReady: (line) => line.includes('"msg":"ready"'), readyLimitMs: LIMIT_MS, env: {} });
}

/** Commands of the page's hosts: `ssh` runs what follows here, `isthmus` talks to the host's program, `systemctl` asks this test. */
function writeCommands(): void {
  const isthmus = `"${process.execPath}" "${moduleOf('apps/cli/src/main.ts')}"`;
  const commands = {
    ssh: 'HOST=$1; shift; export HOST; exec sh -c "$*"',
    scp: 'mkdir -p "$WORK/${2%%:*}" && cp "$1" "$WORK/${2%%:*}/$(basename "${2#*:}")" && chmod 600 "$WORK/${2%%:*}/$(basename "${2#*:}")"',
    isthmus: `case $HOST in trust-root) socket=trust-root ;; vm-*) socket=$HOST ;; *) socket=$HOST-control-plane ;; esac\nexec ${isthmus} --socket "$RUN/$socket.sock" "$@"`,
    'isthmus-agent': `dir=$WORK/$HOST; verb=$1; shift
case $verb in
  join) ${isthmus} agent join "$@" --config-dir "$dir" --state-dir "$dir/state" --dns-port "$DNS_PORT" --no-start && systemctl start isthmus-agent ;;
  leave) exec ${isthmus} agent leave "$@" --config-dir "$dir" --state-dir "$dir/state" ;;
  *) exec ${isthmus} --socket "$dir/state/admin.sock" agent "$verb" "$@" ;;
esac`,
    systemctl: 'ask=$WORK/asks/$$; echo "$HOST $*" > "$ask.new"; mv "$ask.new" "$ask.ask"; while [ ! -e "$ask.done" ]; do sleep 0.05; done; cat "$ask.done" >&2; [ ! -s "$ask.done" ]',
  };
  mkdirSync(join(work, 'bin'));
  mkdirSync(join(work, 'asks'));
  for (const [name, text] of Object.entries(commands)) writeFileSync(join(work, 'bin', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const busy = new Set<string>();
  watching = setInterval(() => {
    for (const file of readdirSync(join(work, 'asks')).filter((name) => name.endsWith('.ask') && !busy.has(name))) {
      busy.add(file);
      const path = join(work, 'asks', file);
      const [host = '', verb = '', ...units] = readFileSync(path, 'utf8').trim().split(' ').filter((word) => word !== '--now');
      const answer = (text: string): void => writeFileSync(path.replace(/ask$/, 'done'), text);
      systemctl(host, verb, units).then(() => answer(''), (error: unknown) => answer(`${String(error)}\n`));
    }
  }, 20);
}

/** The commands under a heading of the page. */
function commandsOf(section: string): string {
  const [, text = ''] = PAGE.split(new RegExp(`^#{2,3} ${section}$`, 'm'));
  const [, commands = ''] = /```sh\n([^]*?)```/.exec(text.split(/^#{2,3} /m)[0] ?? '') ?? [];
  assert.notEqual(commands, '', `the page has no commands under “${section}”`);
  done.add(section);
  return commands;
}

/** Runs them as they stand, but for directories and addresses, which are this machine's. */
async function follow(section: string): Promise<Finished> {
  const eastEtcd = mesh.paths.state(names.etcd('east'));
  const commands = commandsOf(section)
    .replaceAll('/var/lib/etcd', eastEtcd)
    .replaceAll('/var/lib/isthmus/trust-root', mesh.paths.state(names.trustRoot))
    .replaceAll('/etc/isthmus/passphrase', join(work, 'passphrase'))
    .replaceAll('--token-file /etc/isthmus/', `--token-file ${work}/$HOST/`)
    .replaceAll('203.0.113.10:15443', `127.0.0.1:${mesh.federation.port(names.gateway('east'))}`)
    // `$HOST` is known where the command runs, not here.
    .replaceAll('$HOST', '\\$HOST');
  const tls = join(mesh.paths.state(`${names.etcd('east')}-tls`));
  const env = {
    PATH: `${join(work, 'bin')}:${process.env['PATH'] ?? ''}`,
    WORK: work,
    RUN: mesh.paths.runDir,
    DNS_PORT: String(dnsPort),
    ETCDCTL_API: '3',
    ETCDCTL_ENDPOINTS: `https://127.0.0.1:${mesh.federation.port(portNames.store('east'))}`,
    ETCDCTL_CACERT: join(tls, 'ca.pem'),
    ETCDCTL_CERT: join(tls, 'client.pem'),
    ETCDCTL_KEY: join(tls, 'client-key.pem'),
  };
  const finished = await run('sh', ['-e', '-c', commands], { env, cwd: work, limitMs: 180_000 });
  assert.equal(finished.code, 0, `${section}:\n${finished.stdout}\n${finished.stderr}`);
  return finished;
}

/** Runs what a section describes while requests flow; none of them may fail. */
async function unnoticed(section: string): Promise<Finished> {
  await answers(30);
  load.mark();
  const finished = await follow(section);
  await answers(30);
  assert.deepEqual(load.facts().failures, [], `of ${load.facts().requests} requests during “${section}”`);
  return finished;
}

async function answers(more: number): Promise<void> {
  const from = load.facts();
  const answered = ({ requests, failures }: { readonly requests: number; readonly failures: readonly string[] }): number => requests - failures.length;
  const target = answered(from) + more;
  await waitFor(`${more} more answers`, LIMIT_MS, () => (answered(load.facts()) >= target ? true : undefined));
}

const ask = (service: typeof PAYMENTS) => request(outboundOf(mesh.federation, 'vm-1', service));
const peersOf = (cluster: string) => mesh.federation.admin(cluster).list('peer');
const isFresh = (cluster: string, peer: string) => waitFor(`${cluster} to hear ${peer}`, LIMIT_MS, async () => ((await peersOf(cluster)).some((p) => p['cluster'] === peer && p['state'] === 'fresh') ? true : undefined), 100);

before(async () => {
  if (skip !== false) return;
  writeFileSync(join(work, 'passphrase'), 'a passphrase of some length\n', { mode: 0o600 });
  const two = smallTopology(['east-1', 'vm-1', 'west-2']);
  const [east] = two.clusters;
  assert.ok(east);
  const south = { ...east, name: 'south', trustDomain: `south.${two.federation}` as typeof east.trustDomain, locality: 'africa/south', services: [], exports: [], agents: [] };
  const tokens: Readonly<Record<string, object>> = {
    'south-control-plane': { bootstrapTokenFile: fileOf('south', 'bootstrap-token') },
    'south-gateway': { joinTokenFile: fileOf('south', 'gateway-token') },
  };
  mesh = await startFederation({ topology: { ...two, clusters: [...two.clusters, south] }, store: 'etcd', links: true, start: false, settings: (name) => ({ ...tokens[name], ...(/gateway$|^vm-1$/.test(name) && { pidFile: pidFile(name) }) }) });
  dnsPort = (await reservePorts()).from;
  const { federation } = mesh;
  await federation.startTrustRoot();
  await Promise.all(
    two.clusters.map(async (cluster) => {
      await federation.startControlPlane(cluster);
      await federation.declare(cluster);
      await federation.startGateway(cluster);
      for (const agent of cluster.agents) {
        if (agent.workload !== undefined) await federation.startWorkload(cluster, agent.workload);
        await federation.startAgent(cluster, agent);
      }
    }),
  );
  writeCommands();
  load = startLoad(outboundOf(federation, 'vm-1', PAYMENTS), { clients: 2, pauseMs: 20 });
  for (const service of [PAYMENTS, LEDGER]) await waitFor('an answer', LIMIT_MS, async () => ((await ask(service)).ok ? true : undefined), 100);
}, { timeout: 300_000 });

after(async () => {
  clearInterval(watching);
  await load?.stop();
  await mesh?.close();
  rmSync(work, { recursive: true, force: true });
});

test('etcd is backed up and restored: what was declared since is gone, the rest stands, nobody notices', { skip, timeout: 240_000 }, async () => {
  const east = mesh.federation.admin('east');
  await unnoticed('Back up etcd');
  await east.apply({ kind: 'service', namespace: 'shop', name: 'late', ports: [{ name: 'http', port: 80, protocol: 'http' }] });
  const { stdout } = await unnoticed('Restore etcd');
  assert.match(stdout, /store +etcd, up to date/);
  assert.deepEqual((await east.list('service')).map((s) => s['name']).toSorted(), ['payments', 'vault']);
  await east.apply({ kind: 'service', namespace: 'shop', name: 'late', ports: [{ name: 'http', port: 80, protocol: 'http' }] });
  await isFresh('west', 'east');
});

test('the trust root is backed up and restored: same members, its clusters hear it again, nobody notices', { skip, timeout: 240_000 }, async () => {
  await unnoticed('Back up the trust root');
  assert.match((await unnoticed('Restore the trust root')).stdout, /east[^]*west/);
  await waitFor('east to hear the trust root', LIMIT_MS, async () => (((await mesh.federation.admin('east').status())['identity'] as { trustRootReachable: boolean }).trustRootReachable ? true : undefined), 100);
});

test('a cluster is added and removed again, and nobody notices', { skip, timeout: 240_000 }, async () => {
  await unnoticed('Add a cluster');
  await isFresh('east', 'south');
  await isFresh('south', 'west');
  const { stdout } = await unnoticed('Remove a cluster');
  assert.doesNotMatch(stdout, /^south +south\./m);
  await waitFor('east to forget south', LIMIT_MS, async () => ((await peersOf('east')).some((p) => p['cluster'] === 'south') ? undefined : true), 100);
});

test('a VM moves to another host under its name, and the old one holds nothing any more', { skip, timeout: 240_000 }, async () => {
  const { token } = await mesh.federation.admin('east').createJoinToken({ agent: 'vm-7', role: 'agent', services: ['shop/web'], ttlSeconds: 600 });
  mkdirSync(fileOf('vm-old', ''), { recursive: true });
  writeFileSync(fileOf('vm-old', 'join-token'), token, { mode: 0o600 });
  const env = { PATH: `${join(work, 'bin')}:${process.env['PATH'] ?? ''}`, WORK: work, DNS_PORT: String(dnsPort), HOST: 'vm-old' };
  const joined = await run('isthmus-agent', ['join', '--server', `127.0.0.1:${mesh.federation.port(names.gateway('east'))}`, '--token-file', fileOf('vm-old', 'join-token'), '--call-as', 'shop/web'], { env, limitMs: LIMIT_MS });
  assert.equal(joined.code, 0, joined.stderr);
  const { stdout } = await unnoticed('Move a VM');
  assert.match(stdout, /agent\/vm-7/);
  assert.ok(!existsSync(fileOf('vm-old', 'state')) && !existsSync(fileOf('vm-old', 'agent.yaml')));
  await mesh.supervisor.stop('vm-new');
});

test('everything is upgraded in order, and nobody notices', { skip, timeout: 240_000 }, async () => {
  const { stdout } = await unnoticed('Upgrade in order');
  assert.match(stdout, /cluster +east/);
  await isFresh('east', 'west');
});

for (const { section, kills, sees } of [
  { section: 'The trust root is down', kills: [names.trustRoot], sees: /trust root +away/ },
  { section: 'A control plane is down', kills: [names.controlPlane('east')], sees: /east +/ },
  { section: 'etcd is down', kills: [names.etcd('east')], sees: /cluster +east/ },
  { section: 'A gateway is down', kills: [names.gateway('east')], sees: /east +/ },
  { section: 'A whole cluster is down', kills: [names.gateway('west'), names.controlPlane('west'), names.etcd('west')], sees: /west +/ },
]) {
  test(`${section}: requests are answered meanwhile, and it comes back`, { skip, timeout: 240_000 }, async () => {
    await Promise.all(kills.map((name) => mesh.supervisor.kill(name)));
    await answers(30);
    if (section === 'The trust root is down') {
      await waitFor('east to notice', LIMIT_MS, async () => (((await mesh.federation.admin('east').status())['identity'] as { trustRootReachable: boolean }).trustRootReachable ? undefined : true), 100);
    }
    if (section === 'A whole cluster is down') {
      const refused = await waitFor('ledger, which only west has, to be refused', LIMIT_MS, async () => {
        const outcome = await ask(LEDGER);
        return outcome.ok ? undefined : outcome;
      }, 100);
      assert.match(refused.why, /503/);
    }
    assert.match((await follow(section)).stdout, sees);
    await isFresh('east', 'west');
    await isFresh('west', 'east');
    for (const service of [PAYMENTS, LEDGER]) await waitFor('an answer', LIMIT_MS, async () => ((await ask(service)).ok ? true : undefined), 100);
  });
}

test('The link between clusters is cut: each side goes on, the other is shown as stale, and all is taken up again', { skip, timeout: 240_000 }, async () => {
  // The way to west; vm-1 is outside both clusters and still has its way to east.
  mesh.links.get('west')?.cut('swallow');
  await answers(30);
  await waitFor('east to show west as not fresh', LIMIT_MS, async () => ((await peersOf('east')).some((p) => p['cluster'] === 'west' && p['state'] !== 'fresh') ? true : undefined), 200);
  assert.match((await follow('The link between clusters is cut')).stdout, /west +(stale|presumed-dead)/);
  mesh.links.get('west')?.heal();
  await isFresh('east', 'west');
  await waitFor('an answer of ledger', LIMIT_MS, async () => ((await ask(LEDGER)).ok ? true : undefined), 100);
});

test('every procedure of the page was followed', { skip }, () => {
  const sections = PAGE.split(/^(?=#{2,3} )/m).flatMap((part) => (part.includes('```sh') ? [/^#{2,3} (.*)$/m.exec(part)?.[1] ?? ''] : []));
  assert.deepEqual(sections.filter((section) => !done.has(section)), []);
});
