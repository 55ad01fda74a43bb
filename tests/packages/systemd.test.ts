// The packages on a Debian that is booted: hardened units under a running systemd, hand-over and upgrade under traffic, crashes, stops, purge.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, copyFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { type BareRoot, type BootedRoot, bootRoot, type Finished, makeBareRoot, makePackages, reservePorts, run, waitFor, whyNoBareRoot, whyNoBoot } from '@isthmus/harness';

const skip = whyNoBareRoot() ?? whyNoBoot() ?? false;
const UNITS = ['trust-root', 'control-plane', 'gateway', 'agent', 'admin-api'] as const;
type Unit = (typeof UNITS)[number];
/** What `systemd-analyze security` says of each running unit at most; 10 is no protection at all. The same is in docs/operating/install.md. */
const EXPOSURE: Readonly<Record<Unit, number>> = { 'trust-root': 1.4, 'control-plane': 1.4, gateway: 1.6, agent: 1.8, 'admin-api': 1.4 };

let root: BareRoot;
let vm: BootedRoot;
let packages: string;
let application: Server;
let ports: Readonly<Record<string, number>>;

before(async () => {
  if (skip !== false) return;
  packages = mkdtempSync(join(tmpdir(), 'isthmus-packages-'));
  const [made, { from }] = await Promise.all([makeBareRoot(), reservePorts(), makePackages(packages)]);
  root = made;
  ports = Object.fromEntries(['trustRoot', 'controlPlane', 'store', 'gateway', 'adminApi', 'client', 'capture', 'health0', 'health1', 'health2', 'health3', 'health4'].map((name, i) => [name, from + i]));
  application = createServer(answer).listen(0, '127.0.0.1');
  vm = await bootRoot(root);
}, { timeout: 400_000 });

after(async () => {
  application?.closeAllConnections();
  application?.close();
  await vm?.stop();
  root?.remove();
  if (packages !== undefined) rmSync(packages, { recursive: true, force: true });
});

/** `/drip` answers in pieces for as long as the test wants it to. */
let drips: ((last: boolean) => void) | undefined;
function answer(request: IncomingMessage, response: ServerResponse): void {
  if (request.url !== '/drip') return void response.end('payments');
  let pieces = 0;
  const drip = (last: boolean): void => void (last ? response.end(`of ${pieces}`) : response.write(`${(pieces += 1)} `));
  drips = drip;
  drip(false);
}

const inVm = (path: string): string => join(root.directory, path);
async function done(...command: readonly string[]): Promise<string> {
  const { code, stdout, stderr }: Finished = await vm.run(command);
  assert.equal(code, 0, `${command.join(' ')}: ${stdout}${stderr}${code === 0 ? '' : (await vm.run(['journalctl', '-n', '40', '--no-pager', '-o', 'cat'])).stdout}`);
  return stdout;
}
const show = async (unit: Unit, property: string): Promise<string> => (await done('systemctl', 'show', '--value', '-p', property, `isthmus-${unit}`)).trim();
const journal = (unit: Unit): Promise<string> => done('journalctl', '--no-pager', '-o', 'cat', '-u', `isthmus-${unit}`);
/** What runs in the unit's control group: name and process ids. */
const processes = async (unit: Unit): Promise<readonly number[]> => (await done('cat', `/sys/fs/cgroup/system.slice/isthmus-${unit}.service/cgroup.procs`)).trim().split('\n').map(Number);

function bring(directory: string): readonly string[] {
  mkdirSync(inVm('/packages'), { recursive: true });
  const names = readdirSync(directory).filter((name) => name.endsWith('.deb')).sort();
  for (const name of names) copyFileSync(join(directory, name), inVm(join('/packages', name)));
  return names.map((name) => `/packages/${name}`);
}

function configurations(): Readonly<Record<Unit | 'client', object>> {
  const at = (name: string): { host: string; port: number } => ({ host: '127.0.0.1', port: ports[name] ?? 0 });
  const address = (name: string): string => `127.0.0.1:${ports[name]}`;
  const state = (name: string): string => `/var/lib/isthmus/${name}`;
  return {
    'trust-root': { federation: 'acme.example', stateDir: state('trust-root'), listen: at('trustRoot'), health: at('health0') },
    'control-plane': { cluster: 'east', federation: 'acme.example', stateDir: state('control-plane'), gateways: [address('gateway')], listen: at('controlPlane'), trustRoot: { address: address('trustRoot') }, bootstrapTokenFile: '/etc/isthmus/control-plane.token', store: { kind: 'embedded', port: ports['store'] }, health: at('health1') },
    gateway: { stateDir: state('gateway'), server: { address: address('controlPlane') }, joinTokenFile: '/etc/isthmus/gateway.token', network: 'east', listen: at('gateway'), reserved: { 'control-plane': address('controlPlane'), store: address('controlPlane') }, health: at('health2') },
    agent: { stateDir: state('agent'), server: { address: address('controlPlane') }, joinTokenFile: '/etc/isthmus/agent.token', network: 'east', inbound: { host: '127.0.0.1' }, workloadApi: { socket: '/run/isthmus/workload/api.sock' }, workloadsDir: '/etc/isthmus/workloads.d', health: at('health3') },
    'admin-api': { cluster: 'east', federation: 'acme.example', stateDir: state('admin-api'), controlPlaneSocket: `${state('control-plane')}/admin.sock`, trustRoot: { address: address('trustRoot') }, listen: at('adminApi'), health: at('health4') },
    // Of another network: its calls go through the gateway.
    client: { stateDir: '/srv/client', server: { address: address('controlPlane') }, joinTokenFile: '/srv/client.token', network: 'elsewhere', inbound: { host: '127.0.0.1' }, identity: { callAs: 'shop/web' }, outbound: { listeners: [{ service: 'shop/payments', ...at('client'), protocol: 'http' }] } },
  };
}
/** JSON is YAML. */
const configure = (path: string, config: object): void => writeFileSync(inVm(path), JSON.stringify(config, undefined, 2));
const token = (to: string, ...words: readonly string[]): Promise<string> => done('sh', '-c', `umask 077; isthmus ${words.join(' ')} > ${to}; chown isthmus: ${to}`);
const CONTROL_PLANE = '--socket /var/lib/isthmus/control-plane/admin.sock';

function ask(path: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port: ports['client'], path, agent }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text)).once('error', reject);
      response.once('end', () => (response.statusCode === 200 ? resolve(body) : reject(new Error(`${response.statusCode} ${body}`))));
    });
    request.once('error', reject);
  });
}

/** A new connection through the gateway to the agent behind it, and the handshake of that one. */
function handshake(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: ports['gateway'] ?? 0, servername: 'http.payments.shop.svc.east.acme.example', rejectUnauthorized: false }, () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}

/** Asks over one kept connection, over new ones, and through the gateway anew, until it is stopped; answers what failed. */
function startTraffic(): { readonly asked: () => number; stop(): Promise<readonly string[]> } {
  const failures: string[] = [];
  let asked = 0;
  let isAsking = true;
  const kept = new Agent({ keepAlive: true, maxSockets: 1 });
  const repeat = async (what: string, once: () => Promise<unknown>): Promise<void> => {
    for (; isAsking; asked += 1) await once().catch((error: unknown) => failures.push(`${what}: ${String(error)}`));
  };
  const all = Promise.all([repeat('kept connection', () => ask('/', kept)), repeat('new connection', () => ask('/', false)), repeat('new connection to the gateway', handshake)]);
  return {
    asked: () => asked,
    stop: async () => {
      isAsking = false;
      await all;
      kept.destroy();
      return failures;
    },
  };
}

/** Does it while requests flow and one long answer is under way; none of them may fail. */
async function underTraffic(change: () => Promise<void>): Promise<void> {
  const traffic = startTraffic();
  try {
    const long = startLong();
    await waitFor('traffic before', 30_000, () => (traffic.asked() > 10 ? true : undefined));
    const end = await long;
    await change();
    const atEnd = traffic.asked();
    await waitFor('traffic after', 30_000, () => (traffic.asked() > atEnd + 30 ? true : undefined));
    assert.equal(await end(), '1 2 of 2');
  } finally {
    assert.deepEqual((await traffic.stop()).slice(0, 10), [], `of ${traffic.asked()}`);
  }
}

/** One answer that has begun; what is resolved to ends it and says what came. */
async function startLong(): Promise<() => Promise<string>> {
  drips = undefined;
  const whole = ask('/drip', false).catch((error: unknown) => String(error));
  const drip = await waitFor('the long answer to begin', 30_000, () => drips);
  return () => {
    drip(false);
    drip(true);
    return whole;
  };
}

test('the packages install under a running systemd, and nothing starts that is not configured', { skip, timeout: 240_000 }, async () => {
  await done('dpkg', '-i', ...bring(packages));
  for (const unit of UNITS) assert.equal(await show(unit, 'ActiveState'), 'inactive');
  await done('systemctl', 'start', ...UNITS.map((unit) => `isthmus-${unit}`));
  for (const unit of UNITS) assert.equal(`${await show(unit, 'ActiveState')} ${await show(unit, 'ConditionResult')}`, 'inactive no', unit);
});

test('each unit has started once its program serves, and a federation comes up from one start after the other, without a wait between', { skip, timeout: 240_000 }, async () => {
  const { client, ...units } = configurations();
  for (const [name, config] of Object.entries(units)) configure(`/etc/isthmus/${name}.yaml`, config);
  configure('/srv/client.yaml', client);
  const { port } = application.address() as { port: number };
  configure('/etc/isthmus/workloads.d/payments.yaml', { kind: 'workload', namespace: 'shop', service: 'payments', instance: 'payments-1', ports: { http: port } });

  await done('systemctl', 'enable', '--now', 'isthmus-trust-root');
  await token('/etc/isthmus/control-plane.token', 'cluster token create east --socket /var/lib/isthmus/trust-root/admin.sock');
  await done('systemctl', 'enable', '--now', 'isthmus-control-plane');
  await token('/etc/isthmus/gateway.token', `token create gateway-1 --role gateway ${CONTROL_PLANE}`);
  await token('/etc/isthmus/agent.token', `token create vm-1 --service shop/payments ${CONTROL_PLANE}`);
  await token('/srv/client.token', `token create vm-2 --service shop/web ${CONTROL_PLANE}`);
  writeFileSync(inVm('/srv/payments.yaml'), 'kind: service\nnamespace: shop\nname: payments\nports: [{ name: http, port: 80, protocol: http }]\n---\nkind: export\nnamespace: shop\nname: payments\nconsumers: all\n');
  await done('isthmus', 'apply', '-f', '/srv/payments.yaml', ...CONTROL_PLANE.split(' '));
  await done('systemctl', 'enable', '--now', 'isthmus-gateway');
  await done('systemctl', 'enable', '--now', 'isthmus-agent', 'isthmus-admin-api');
  assert.equal(await done('stat', '-c', '%F %a', '/run/isthmus/workload', '/run/isthmus/workload/api.sock'), 'directory 755\nsocket 666\n', 'any program of the host may ask for its identity');
  await done('isthmus', 'agent', 'status', '--socket', '/var/lib/isthmus/agent/admin.sock');
  await done('systemd-run', '--quiet', '--unit=client', '/usr/bin/isthmus-agent', '--config', '/srv/client.yaml');
  const first = await waitFor('the first answer through gateway and agent', 30_000, () => ask('/', false).catch(() => undefined)).catch(async (error: unknown) => assert.fail(`${String(error)}\n${await done('journalctl', '-n', '60', '--no-pager', '-o', 'cat')}`));
  assert.equal(first, 'payments');
  for (const unit of UNITS) {
    assert.equal(`${await show(unit, 'ActiveState')} ${await show(unit, 'StatusText')} ${await show(unit, 'NRestarts')}`, 'active serves 0', unit);
    assert.match(await journal(unit), /"msg":"ready"/, 'its log is in the journal');
    assert.equal(await done('stat', '-c', '%U', `/proc/${await show(unit, 'MainPID')}`), 'isthmus\n');
  }
});

test('the running units are as closed as the documents say', { skip, timeout: 120_000 }, async () => {
  const said = await Promise.all(UNITS.map(async (unit) => [unit, Number(/Overall exposure level for .*: ([\d.]+) OK/.exec(await done('systemd-analyze', 'security', '--no-pager', `isthmus-${unit}`))?.[1])]));
  assert.deepEqual(Object.fromEntries(said), EXPOSURE);
});

test('a reload of gateway and agent is a hand-over: systemd watches the successor once it serves, again and again, and nothing fails', { skip, timeout: 240_000 }, async () => {
  await underTraffic(async () => {
    for (const unit of ['gateway', 'gateway', 'agent'] as const) {
      const old = await show(unit, 'MainPID');
      await done('systemctl', 'reload', `isthmus-${unit}`);
      const now = await show(unit, 'MainPID');
      assert.notEqual(now, old, 'it has changed by the time the reload is over');
      assert.equal(`${await show(unit, 'ActiveState')} ${await show(unit, 'SubState')}`, 'active running');
      assert.match(await done('systemctl', 'status', '--no-pager', `isthmus-${unit}`), new RegExp(`Main PID: ${now} `));
    }
  });
  // The long answer is over: nothing holds the predecessors any more.
  for (const unit of ['gateway', 'agent'] as const) await onlyMain(unit);
});

async function onlyMain(unit: Unit): Promise<void> {
  const main = Number(await show(unit, 'MainPID'));
  await waitFor(`the predecessors of ${unit} to end`, 90_000, async () => ((await processes(unit)).join() === String(main) ? true : undefined)).catch(async (error: unknown) => assert.fail(`${String(error)}\n${await journal(unit)}`));
  assert.equal(await show(unit, 'MainPID'), String(main));
  assert.equal(await show(unit, 'NRestarts'), '0');
}

test('a successor that does not come up leaves the one that serves, and the unit says so', { skip, timeout: 120_000 }, async () => {
  const main = await show('gateway', 'MainPID');
  const { gateway } = configurations();
  configure('/etc/isthmus/gateway.yaml', { ...gateway, listne: 1 });
  await underTraffic(async () => void (await done('systemctl', 'reload', 'isthmus-gateway')));
  assert.equal(await show('gateway', 'MainPID'), main);
  assert.match(await show('gateway', 'StatusText'), /^no hand-over, this process goes on: /);
  assert.match(await journal('gateway'), /listne: unknown key/);
  configure('/etc/isthmus/gateway.yaml', gateway);
  await done('systemctl', 'reload', 'isthmus-gateway');
  assert.equal(await show('gateway', 'StatusText'), 'serves');
});

test('an upgrade of all packages loses no request, and the new programs run', { skip, timeout: 240_000 }, async () => {
  const next = mkdtempSync(join(packages, 'next-'));
  for (const file of readdirSync(packages).filter((name) => name.endsWith('.deb'))) {
    const tree = join(next, 'tree');
    await run('dpkg-deb', ['-R', join(packages, file), tree]);
    await run('sed', ['-i', 's/0\\.1\\.0/0.1.1/', join(tree, 'DEBIAN/control')]);
    const built = await run('dpkg-deb', ['--root-owner-group', '-Znone', '-b', tree, join(next, file.replace('0.1.0', '0.1.1'))], { limitMs: 60_000 });
    assert.equal(built.code, 0, built.stderr);
    rmSync(tree, { recursive: true });
  }
  const before = await Promise.all(UNITS.map((unit) => show(unit, 'MainPID')));
  await underTraffic(async () => {
    await done('dpkg', '-i', ...bring(next).filter((path) => path.includes('0.1.1')));
    for (const [i, unit] of UNITS.entries()) {
      assert.notEqual(await show(unit, 'MainPID'), before[i], unit);
      assert.equal(await done('readlink', `/proc/${await show(unit, 'MainPID')}/exe`), '/usr/lib/isthmus/isthmus\n', 'not the deleted one');
      assert.equal(await show(unit, 'ActiveState'), 'active');
    }
  });
});

test('a killed process is started again, also a successor beside its draining predecessor', { skip, timeout: 240_000 }, async () => {
  for (const unit of UNITS) {
    await done('systemctl', 'kill', '--signal=KILL', '--kill-whom=main', `isthmus-${unit}`);
  }
  for (const unit of UNITS) await waitFor(`${unit} to serve again`, 30_000, async () => ((await show(unit, 'NRestarts')) === '1' && (await show(unit, 'ActiveState')) === 'active' ? true : undefined)).catch(async (error: unknown) => assert.fail(`${String(error)}\n${await journal(unit)}`));
  await waitFor('answers again', 30_000, () => ask('/', false).catch(() => undefined));
  const end = await startLong();
  await done('systemctl', 'reload', 'isthmus-agent');
  await waitFor('the predecessor to drain', 30_000, async () => ((await journal('agent')).includes('open connections are let end') ? true : undefined));
  assert.equal((await processes('agent')).length, 2);
  await done('systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'isthmus-agent');
  await waitFor('the agent to serve again', 30_000, async () => ((await show('agent', 'NRestarts')) === '2' && (await show('agent', 'ActiveState')) === 'active' ? true : undefined)).catch(async (error: unknown) => assert.fail(`${String(error)}\n${await journal('agent')}`));
  await waitFor('answers again', 30_000, () => ask('/', false).catch(() => undefined));
  await end();
});

test('capture’s rules come with the agent and after it, stay when it is killed, are replaced whole, and go before it', { skip, timeout: 240_000 }, async () => {
  // Stands in for nft, so that this machine's own rules are left alone: it writes down what it was told.
  writeFileSync(inVm('/usr/sbin/nft'), '#!/bin/sh\n{ echo "$*"; cat; } | tr "\\n" " " | logger -t nft\n', { mode: 0o755 });
  const told = async (): Promise<readonly string[]> => (await done('journalctl', '--no-pager', '-o', 'cat', '-t', 'nft')).trim().split('\n').filter((line) => line.startsWith('-f'));
  const puts = (line: string | undefined): boolean => line?.includes('redirect to') === true;
  const active = async (): Promise<string> => (await vm.run(['systemctl', 'is-active', 'isthmus-agent-capture'])).stdout.trim();
  const { agent } = configurations();
  configure('/etc/isthmus/agent.yaml', { ...agent, outbound: { all: true }, capture: { port: ports['capture'] } });
  await done('systemctl', 'enable', '--quiet', 'isthmus-agent-capture');
  await done('systemctl', 'restart', 'isthmus-agent');
  await waitFor('the rules', 60_000, async () => ((await active()) === 'active' ? true : undefined));
  assert.deepEqual((await told()).map(puts), [true]);
  await done('systemctl', 'reload', 'isthmus-agent-capture');
  assert.deepEqual((await told()).map(puts), [true, true], 'in one step, not removed and made again');
  await done('systemctl', 'reload', 'isthmus-agent');
  assert.equal((await told()).length, 2, 'a hand-over of the agent leaves them alone');
  const killed = await show('agent', 'MainPID');
  await done('systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'isthmus-agent');
  await waitFor('agent and rules to be back', 60_000, async () => (![killed, '0'].includes(await show('agent', 'MainPID')) && (await show('agent', 'SubState')) === 'running' && (await active()) === 'active' ? true : undefined));
  assert.ok(puts((await told()).at(-1)));
  await done('systemctl', 'stop', 'isthmus-agent');
  assert.equal(await active(), 'inactive');
  assert.equal(puts((await told()).at(-1)), false, 'the last that nft was told is to remove them');
  const [rulesGone = 0, agentStops = 0] = await Promise.all([['-t', 'nft'], ['-u', 'isthmus-agent', '--grep', 'stopping']].map(async (of) => Number(/^[\d.]+/.exec((await done('journalctl', '--no-pager', '-o', 'short-unix', '-n', '1', ...of)).trim().split('\n').at(-1) ?? '')?.[0])));
  assert.ok(rulesGone < agentStops, `${rulesGone} before ${agentStops}: no query may lead to an agent that is gone`);
  configure('/etc/isthmus/agent.yaml', agent);
  await done('systemctl', 'disable', '--quiet', 'isthmus-agent-capture');
  await done('systemctl', 'start', 'isthmus-agent');
});

test('a wrong configuration is said once and not tried again and again', { skip, timeout: 120_000 }, async () => {
  const { 'admin-api': config } = configurations();
  configure('/etc/isthmus/admin-api.yaml', { ...config, lisen: 1 });
  const { code } = await vm.run(['systemctl', 'restart', 'isthmus-admin-api']);
  assert.equal(code, 1, 'whoever starts it is told');
  assert.equal(`${await show('admin-api', 'ActiveState')} ${await show('admin-api', 'ExecMainStatus')}`, 'failed 65');
  assert.equal((await journal('admin-api')).match(/lisen: unknown key/g)?.length, 1);
  configure('/etc/isthmus/admin-api.yaml', config);
  await done('systemctl', 'restart', 'isthmus-admin-api');
});

test('a stop lets what has begun end, in time and without a failure', { skip, timeout: 240_000 }, async () => {
  const end = await startLong();
  const stopped = done('systemctl', 'stop', 'isthmus-gateway');
  await waitFor('the stop to begin', 30_000, async () => ((await show('gateway', 'ActiveState')) === 'deactivating' ? true : undefined));
  assert.equal(await end(), '1 2 of 2', 'what has begun is let end');
  await stopped;
  for (const unit of UNITS.toReversed()) {
    await done('systemctl', 'stop', `isthmus-${unit}`);
    assert.equal(`${await show(unit, 'ActiveState')} ${await show(unit, 'Result')} ${await show(unit, 'ExecMainStatus')}`, 'inactive success 0', unit);
    assert.doesNotMatch(await journal(unit), /State 'stop-sigterm' timed out|part did not stop in time/);
  }
});

test('purging leaves nothing: no file, no unit, no process', { skip, timeout: 120_000 }, async () => {
  await done('systemctl', 'stop', 'client');
  await done('systemctl', 'start', ...UNITS.map((unit) => `isthmus-${unit}`));
  await done('dpkg', '-P', ...UNITS.map((unit) => `isthmus-${unit}`), 'isthmus');
  for (const path of ['/etc/isthmus', '/var/lib/isthmus', '/run/isthmus', '/usr/lib/isthmus', '/usr/bin/isthmus']) assert.ok(!existsSync(inVm(path)), path);
  const left = await done('sh', '-c', 'ls /etc/systemd/system/multi-user.target.wants /etc/systemd/system /usr/lib/systemd/system | grep isthmus || true; systemctl list-units --all --no-legend "isthmus*"; ls -d /run/isthmus 2>/dev/null || true');
  assert.equal(left, '');
});
