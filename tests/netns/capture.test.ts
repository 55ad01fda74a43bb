// Transparent capture on a real host: applications dial mesh names, an agent without any right over the network carries
// them, and what is no call to the mesh goes its way, whatever becomes of the agent.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@isthmus/harness';
import { agent, call } from '@isthmus/rpc';
import type { ChildProcess } from 'node:child_process';
import { APP_PORT, CALL_LIMIT, GATEWAY_PORT, Hosts, INBOUND_PORT, type Ran } from './hosts.ts';
import { whyNoHosts } from './network.ts';

const skip = whyNoHosts() ?? whyNot('nft') ?? whyNot('curl') ?? whyNot('dig') ?? whyNot('setpriv') ?? false;
const AGENT_UID = 4_711;
const APPLICATION_UID = 4_712;
/** A user without rights. Of what root may, the agent keeps reading its files alone: the checkout may be anyone's. */
const AS_AGENT = ['setpriv', '--reuid', String(AGENT_UID), '--regid', String(AGENT_UID), '--clear-groups', '--bounding-set', '-all,+dac_override', '--inh-caps', '-all,+dac_override', '--ambient-caps', '-all,+dac_override'];
const AS_APPLICATION = ['setpriv', '--reuid', String(APPLICATION_UID), '--regid', String(APPLICATION_UID), '--clear-groups'];
const NAMESERVER = '10.99.0.53';
const NAMESERVER6 = 'fd99::53';
const OUTSIDE = '10.99.0.80';
const LEDGER = 'ledger.shop.svc.clusterset.local';
/** How curl ends where it was refused or reset: not 28, a time limit. */
const REFUSED: ReadonlySet<number> = new Set([7, 52, 55, 56]);
const MAIN = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
const OUTSIDE_PROGRAM = fileURLToPath(new URL('./outside.ts', import.meta.url));
/** As container runtimes and firewalls have them: none of ours. */
const OTHER_TABLES = `table ip nat {
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr 10.99.0.99 tcp dport 80 dnat to ${OUTSIDE}:8080
	}
}
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		iifname "lo" accept
		ct state established,related accept
	}
}
`;

let hosts: Hosts;
let vm: ChildProcess;
let resolvDirectory: string;
/** The process of the agent after a hand-over, which is no child of this one. */
let successor = 0;

function whyNot(program: string): string | undefined {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'pipe', env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } });
    return undefined;
  } catch {
    return `${program} is not installed`;
  }
}

/** As an application that knows nothing of the mesh. */
const asApplication = (...command: readonly string[]): Promise<Ran> => hosts.run('vm', ...AS_APPLICATION, ...command);
const curl = (url: string): Promise<Ran> => asApplication('curl', '-sS', '--max-time', '10', url);
const capture = (...args: readonly string[]): Promise<Ran> => hosts.run('vm', process.execPath, MAIN, 'agent', 'capture', ...args);
const apply = (): Promise<Ran> => capture('apply', '--config', hosts.configFile('vm-agent'));
const dig = async (...args: readonly string[]): Promise<string> => (await asApplication('dig', '+short', '+tries=1', '+time=8', ...args)).stdout.trim();
const rules = async (): Promise<string> => (await hosts.run('vm', 'nft', 'list', 'ruleset')).stdout;
const ours = async (): Promise<boolean> => (await rules()).includes('table inet isthmus');

async function captureStatus(): Promise<Record<string, unknown>> {
  const client = hosts.channel('vm-agent').client(agent.ProxyAdminClient);
  const { document } = await call(client.status.bind(client), {}, CALL_LIMIT);
  return (JSON.parse(document.toString()) as { readonly capture: Record<string, unknown> }).capture;
}

async function untilInForce(isInForce: boolean): Promise<void> {
  await waitFor(`the agent to see its rules ${isInForce ? 'in force' : 'gone'}`, 30_000, async () => ((await captureStatus())['isInForce'] === isInForce ? true : undefined));
}

const pidFile = (): string => join(hosts.directory, 'vm-agent', 'pid');

const answeredBy = (said: Ran, host: string): boolean => said.code === 0 && said.stdout.includes(`"cluster":"${host}"`);
const untilAnswered = (url: string, by: string): Promise<Ran> =>
  waitFor(`${url} to be answered by ${by}`, 30_000, async () => {
    const said = await curl(url);
    return answeredBy(said, by) ? said : undefined;
  });

before(
  async () => {
    if (skip !== false) return;
    hosts = new Hosts(['root', 'east', 'west', 'vm'], [['root', 'east'], ['root', 'west'], ['east', 'west'], ['vm', 'east'], ['vm', 'west']]);
    const { network } = hosts;
    // `ip netns exec` puts this in the place of the machine's own.
    resolvDirectory = join('/etc/netns', network.namespace('vm'));
    mkdirSync(resolvDirectory, { recursive: true });
    writeFileSync(join(resolvDirectory, 'resolv.conf'), `nameserver ${NAMESERVER}\nnameserver ${NAMESERVER6}\noptions timeout:2 attempts:4\n`);
    for (const address of [`${NAMESERVER}/32`, `${OUTSIDE}/32`, '10.99.0.99/32']) await hosts.run('vm', 'ip', 'addr', 'add', address, 'dev', 'lo');
    await hosts.run('vm', 'ip', '-6', 'addr', 'add', `${NAMESERVER6}/128`, 'dev', 'lo', 'nodad');
    execFileSync(...network.on('vm', ['nft', '-f', '-']) as [string, string[]], { input: OTHER_TABLES });
    hosts.start('vm', 'outside', OUTSIDE_PROGRAM, [OUTSIDE, `${NAMESERVER}:53`, `${NAMESERVER6}:53`, `${OUTSIDE}:8080`, `${network.address('vm')}:${APP_PORT}`, `127.0.0.1:${APP_PORT}`], () => undefined);
    await hosts.startTrustRoot();
    const two = [{ name: 'http', port: 80, protocol: 'http' }, { name: 'alt', port: 8_443, protocol: 'http' }];
    await Promise.all([hosts.startCluster('east', [{ name: 'vmapp', ports: [two[0]] }]), hosts.startCluster('west', [{ name: 'ledger', ports: two }])]);
    hosts.startApplication('west');
    const workloads = [{ kind: 'workload', namespace: 'shop', service: 'ledger', instance: 'ledger-1', ports: { http: APP_PORT, alt: APP_PORT }, inbound: { http: INBOUND_PORT, alt: INBOUND_PORT + 1 }, healthCheck: { kind: 'http', path: '/healthz', intervalMs: 250 } }];
    [, vm] = await Promise.all([
      hosts.startAgent('west', { cluster: 'west', server: hosts.controlPlane('west'), services: ['ledger'], config: { workloads, outbound: { listeners: [{ service: 'shop/vmapp', port: 7_001 }] } } }),
      hosts.startAgent('vm', {
        cluster: 'east', server: `${network.address('east')}:${GATEWAY_PORT}`, services: ['vmapp'], as: AS_AGENT,
        config: { drainMs: 500, handOverDrainMs: 1_000, pidFile: pidFile(), outbound: { all: true }, dns: { port: 5_353 }, capture: { dns: true, user: String(AGENT_UID), inbound: [{ port: APP_PORT, to: INBOUND_PORT }] } },
      }),
    ]);
  },
  { timeout: 220_000 },
);

after(() => {
  if (skip !== false) return;
  try {
    if (successor !== 0) process.kill(successor, 'SIGKILL');
  } catch {
    // It has ended, as it should.
  }
  hosts.close();
  rmSync(resolvDirectory, { recursive: true, force: true });
});

test('until the rules are applied the agent says that they are not, and a dry run changes nothing', { skip, timeout: 120_000 }, async () => {
  await untilInForce(false);
  const before_ = await rules();
  const dry = await capture('apply', '--dry-run', '--config', hosts.configFile('vm-agent'));
  assert.equal(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, /redirect to :15001/);
  const shown = await capture('show', '--config', hosts.configFile('vm-agent'));
  assert.match(shown.stdout, /^table inet isthmus \{/);
  assert.equal(await rules(), before_);
  const denied = await hosts.run('vm', ...AS_AGENT, process.execPath, MAIN, 'agent', 'capture', 'apply', '--config', hosts.configFile('vm-agent'));
  assert.equal(denied.code, 69);
  assert.match(denied.stderr, /needs root/);
  assert.equal(await rules(), before_, 'the agent’s own user cannot change them');
});

test('an application reaches a service of another cluster by name on each of its ports, and by address, and knows of no agent', { skip, timeout: 120_000 }, async () => {
  const others = await rules();
  const applied = await apply();
  assert.equal(applied.code, 0, applied.stderr);
  await untilInForce(true);
  const said = await untilAnswered(`http://${LEDGER}/`, 'west');
  assert.match(said.stdout, /URI=spiffe:\/\/[^"]*\/ns\/shop\/svc\/web/, 'over mutual TLS, as who the agent calls as');
  assert.ok(answeredBy(await curl(`http://${LEDGER}:8443/`), 'west'));
  const address = await dig(LEDGER);
  assert.match(address, /^127\.64\./);
  assert.ok(answeredBy(await curl(`http://${address}:8443/x`), 'west'), 'by its virtual address');
  assert.equal(await dig('+tcp', LEDGER), address);
  assert.equal(await dig(`@${NAMESERVER6}`, LEDGER), address, 'a nameserver asked over IPv6 is no way around');
  assert.ok((await rules()).includes(others.trim()), 'the tables of others are as they were');
  assert.ok(REFUSED.has((await curl(`http://${LEDGER}:8444/`)).code), 'a port it does not have is reset at once');
  assert.ok(REFUSED.has((await curl('http://127.64.0.1/')).code), 'as is an address that nobody has');
});

test('what is no call to the mesh goes its way: names, addresses, other nameservers, the tables of others', { skip, timeout: 120_000 }, async () => {
  assert.equal((await curl('http://www.example.org:8080/')).stdout, 'outside');
  assert.equal((await curl(`http://${OUTSIDE}:8080/`)).stdout, 'outside');
  assert.equal(await dig('www.example.org'), OUTSIDE);
  assert.equal(await dig('+tcp', 'www.example.org'), OUTSIDE);
  assert.equal((await curl('http://10.99.0.99/')).stdout, 'outside', 'another table’s translation holds');
  const agentsOwn = await hosts.run('vm', ...AS_AGENT, 'dig', '+short', LEDGER);
  assert.equal(agentsOwn.stdout.trim(), OUTSIDE, 'what the agent asks itself is not captured, or it would ask in a circle');
});

test('from other machines nobody reaches the application but through mutual TLS', { skip, timeout: 120_000 }, async () => {
  const plain = `http://${hosts.network.address('vm')}:${APP_PORT}/`;
  const meshed = await waitFor('an answer through the mesh', 30_000, async () => {
    const said = await hosts.run('west', 'curl', '-sS', '--max-time', '10', 'http://127.0.0.1:7001/');
    return said.stdout === 'outside' ? said : undefined;
  });
  assert.equal(meshed.stdout, 'outside');
  const refused = await hosts.run('west', 'curl', '-sS', '--max-time', '10', plain);
  assert.notEqual(refused.code, 0);
  assert.doesNotMatch(refused.stdout, /outside/);
  assert.equal((await curl(plain)).stdout, 'outside', 'on the machine itself it is reached as before');
});

test('an agent that hands over to its successor fails no call and no name', { skip, timeout: 120_000 }, async () => {
  let isOver = false;
  const failed: string[] = [];
  const traffic = (async () => {
    while (!isOver) {
      const said = await curl(`http://${LEDGER}/`);
      if (!answeredBy(said, 'west')) failed.push(`${said.code} ${said.stderr}${said.stdout}`);
    }
  })();
  vm.kill('SIGUSR2');
  await waitFor('the predecessor to end', 60_000, () => (vm.exitCode !== null || vm.signalCode !== null ? true : undefined));
  isOver = true;
  await traffic;
  assert.deepEqual(failed, []);
  await untilInForce(true);
  successor = Number(readFileSync(pidFile(), 'utf8'));
});

test('an agent killed outright: calls to the mesh are refused, everything else goes on, and the next start needs nobody', { skip, timeout: 120_000 }, async (t) => {
  const address = await dig(LEDGER);
  process.kill(successor, 'SIGKILL');
  await waitFor('calls to the mesh to be refused', 30_000, async () => (REFUSED.has((await curl(`http://${address}/`)).code) ? true : undefined));
  assert.ok(await ours(), 'the rules outlive it');
  assert.equal((await curl(`http://${OUTSIDE}:8080/`)).stdout, 'outside');
  const sinceMs = performance.now();
  await waitFor('names to be answered by the machine’s own nameserver', 30_000, async () => ((await dig('www.example.org')) === OUTSIDE ? true : undefined));
  t.diagnostic(`names were answered again ${Math.round(performance.now() - sinceMs)} ms after the first refused call`);
  vm = await hosts.startAgain('vm', 'vm-agent', 'agent', AS_AGENT);
  await untilAnswered(`http://${LEDGER}/`, 'west');
  // Of rules that are replaced while the agent lives, the new ones take queries from their first moment.
  assert.match((await capture('apply', '--dry-run', '--config', hosts.configFile('vm-agent'))).stdout, /elements = \{ 53 \}/);
  assert.equal((await apply()).code, 0);
  assert.ok(answeredBy(await curl(`http://${LEDGER}/`), 'west'));
  assert.equal((await rules()).match(/table inet isthmus/g)?.length, 1, 'there is one table and not two');
});

test('a clean stop gives names back at once; removing and leaving leave no rule', { skip, timeout: 120_000 }, async () => {
  vm.kill('SIGTERM');
  await waitFor('the agent to end', 30_000, () => (vm.exitCode !== null || vm.signalCode !== null ? true : undefined));
  assert.equal(await dig('www.example.org'), OUTSIDE, 'without waiting for anything to run out');
  assert.equal((await capture('remove')).code, 0);
  assert.equal(await ours(), false);
  assert.equal((await capture('remove')).code, 0, 'removing nothing is no error');
  assert.equal((await apply()).code, 0);
  const configDir = join(hosts.directory, 'etc');
  mkdirSync(configDir);
  writeFileSync(join(configDir, 'agent.yaml'), '');
  const left = await hosts.run('vm', process.execPath, MAIN, 'agent', 'leave', '--config-dir', configDir, '--state-dir', join(hosts.directory, 'vm-agent'));
  assert.equal(left.code, 0, left.stderr);
  assert.equal(await ours(), false);
  assert.equal((await curl(`http://${OUTSIDE}:8080/`)).stdout, 'outside');
});
