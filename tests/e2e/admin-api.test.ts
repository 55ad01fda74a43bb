// The admin API of real processes: what it changes, what it remembers, what it streams, and what it says of other clusters.
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Page, WatchEvent } from '@isthmus/api';
import type { IsthmusError } from '@isthmus/model';
import { appMain, clusterOf, DEMO_OPERATOR, isthmus, LEDGER, names, openOperator, type Operator, outboundOf, reservePorts, smallTopology, startFederation, startLoad, type TestFederation, waitFor } from '@isthmus/harness';

let mesh: TestFederation;
let demo: Operator;
/** The other gateway of west, which its cluster has told of from the start. */
const SECOND = 'west-gateway-2';
let secondPort = 0;

before(async () => {
  ({ from: secondPort } = await reservePorts());
  const first = (): string => `127.0.0.1:${mesh.links.get('west')?.port}`;
  const settings = (name: string): object => (name === names.controlPlane('west') ? { gateways: [first(), `127.0.0.1:${secondPort}`] } : name === names.gateway('west') ? { advertise: first() } : {});
  mesh = await startFederation({ topology: smallTopology(['east-1', 'west-2']), links: true, start: false, settings });
  const { federation, topology } = mesh;
  await federation.startTrustRoot();
  for (const cluster of topology.clusters) {
    await federation.startControlPlane(cluster);
    await Promise.all([federation.startGateway(cluster), federation.startAdminApi(cluster), federation.declare(cluster)]);
  }
  demo = await openOperator(mesh, 'east', DEMO_OPERATOR);
}, { timeout: 180_000 });
after(async () => {
  await demo?.close();
  await mesh.close();
});

const service = (name: string, port = 80) => ({ kind: 'service', namespace: 'shop', name, ports: [{ name: 'http', port, protocol: 'http' }] });
const at = (name: string, cluster = 'east') => ({ params: { cluster, namespace: 'shop', name } });
const codeOf = (code: string) => (error: IsthmusError) => error.code === code;

test('a service is made, read, replaced and deleted, each with its ETag', async () => {
  const made = await demo.client.call('putServices', { ...at('cart'), body: service('cart') });
  assert.equal(made.status, 201);
  const read = await demo.client.call('getServices', at('cart'));
  assert.deepEqual([read.value, read.etag], [service('cart'), made.etag]);
  const replaced = await demo.client.call('putServices', { ...at('cart'), body: service('cart', 81), ifMatch: made.etag });
  assert.equal(replaced.status, 200);
  assert.notEqual(replaced.etag, made.etag);
  const same = await demo.client.call<{ changed: boolean }>('putServices', { ...at('cart'), body: service('cart', 81) });
  assert.deepEqual([same.value.changed, same.etag], [false, replaced.etag]);
  assert.equal((await demo.client.call('deleteServices', { ...at('cart'), ifMatch: replaced.etag })).status, 200);
  await assert.rejects(demo.client.call('getServices', at('cart')), codeOf('API_NOT_FOUND'));
});

test('of two who change the same revision, one is told, and what the other wrote stands', async () => {
  const { etag } = await demo.client.call('putServices', { ...at('raced'), body: service('raced', 1) });
  const tries = await Promise.allSettled([2, 3, 4, 5].map((port) => demo.client.call('putServices', { ...at('raced'), body: service('raced', port), ifMatch: etag })));
  assert.equal(tries.filter((t) => t.status === 'fulfilled').length, 1);
  for (const t of tries) if (t.status === 'rejected') assert.equal((t.reason as IsthmusError).code, 'CONTROL_PLANE_STALE');
  const won = tries.findIndex((t) => t.status === 'fulfilled') + 2;
  assert.deepEqual((await demo.client.call('getServices', at('raced'))).value, service('raced', won));
  await assert.rejects(demo.client.call('deleteServices', { ...at('raced'), ifMatch: etag }), (error: IsthmusError) => error.code === 'CONTROL_PLANE_STALE' && error.facts['status'] === 412);
  await assert.rejects(demo.client.call('putServices', { ...at('raced'), body: service('raced'), ifNoneMatch: '*' }), codeOf('CONTROL_PLANE_STALE'));
});

test('a write with the key of an earlier one has no effect and its answer, also after both processes were killed', async () => {
  const request = { params: { cluster: 'east' }, body: { agent: 'vm-9', role: 'agent' as const, services: ['shop/payments'] }, idempotencyKey: 'token-1' };
  type Made = { id: string; token?: string };
  const [one, two] = await Promise.all([demo.client.call<Made>('createJoinTokens', request), demo.client.call<Made>('createJoinTokens', request).catch((error: unknown) => error as IsthmusError)]);
  for (const name of [names.controlPlane('east'), names.adminApi('east')]) {
    await mesh.supervisor.kill(name);
    await mesh.supervisor.restart(name);
  }
  const again = await waitFor('the admin API to answer again', 60_000, () => demo.client.call<Made>('createJoinTokens', request));
  assert.equal(again.value.token, undefined, 'a secret is shown once');
  const secrets = [one, two].flatMap((made) => ('value' in made && made.value.token !== undefined ? [made.value] : []));
  assert.deepEqual(secrets.map((made) => made.id), [again.value.id]);
  const tokens = await mesh.federation.admin('east').list('join-token');
  assert.equal(tokens.filter((t) => t['agent'] === 'vm-9').length, 1);
  await assert.rejects(demo.client.call('createJoinTokens', { ...request, body: { ...request.body, agent: 'vm-10' } }), codeOf('CONTROL_PLANE_KEY_REUSED'));
});

test('a dry run says what would be, and changes nothing', async () => {
  const dry = await demo.client.call<{ created: boolean; dryRun: boolean }>('putServices', { ...at('imagined'), query: { dryRun: 'true' }, body: service('imagined') });
  assert.deepEqual([dry.value.created, dry.value.dryRun], [true, true]);
  await assert.rejects(demo.client.call('getServices', at('imagined')), codeOf('API_NOT_FOUND'));
  await assert.rejects(demo.client.call('putExports', { ...at('imagined'), query: { dryRun: 'true' }, body: { kind: 'export', namespace: 'shop', name: 'imagined', consumers: 'all' } }), codeOf('CONTROL_PLANE_EXPORT_WITHOUT_SERVICE'));
  await demo.client.call('createJoinTokens', { params: { cluster: 'east' }, query: { dryRun: 'true' }, body: { agent: 'vm-dry', role: 'agent' } });
  assert.ok(!(await mesh.federation.admin('east').list('join-token')).some((t) => t['agent'] === 'vm-dry'));
});

test('a list goes by pages, in order, and each thing comes once', async () => {
  for (let i = 0; i < 7; i += 1) await demo.client.call('putServices', { ...at(`page-${i}`), body: service(`page-${i}`) });
  const keys: string[] = [];
  let cursor: string | undefined;
  do {
    const { value } = await demo.client.call<Page>('listServices', { params: { cluster: 'east' }, query: { limit: '3', cursor } });
    assert.ok(value.items.length <= 3);
    keys.push(...value.items.map((i) => i.key));
    cursor = value.next;
  } while (cursor !== undefined);
  assert.deepEqual(keys, [...new Set(keys)].toSorted());
  assert.equal(keys.filter((key) => key.startsWith('shop/page-')).length, 7);
});

test('a watch gives what there is, says so, and then every change', async () => {
  const end = new AbortController();
  const events: WatchEvent[] = [];
  const watching = (async () => {
    for await (const event of demo.client.watch('listServices', { params: { cluster: 'east' }, signal: end.signal })) events.push(event);
  })().catch(() => undefined);
  await waitFor('the first state', 30_000, async () => (events.some((e) => e.kind === 'synced')) || undefined);
  assert.ok(events.some((e) => e.kind === 'put' && e.key === 'shop/payments'));
  const { etag } = await demo.client.call('putServices', { ...at('watched'), body: service('watched') });
  await waitFor('the change', 30_000, async () => (events.some((e) => e.kind === 'put' && e.key === 'shop/watched' && e.etag === etag)) || undefined);
  await demo.client.call('deleteServices', at('watched'));
  await waitFor('the deletion', 30_000, async () => (events.some((e) => e.kind === 'delete' && e.key === 'shop/watched')) || undefined);
  end.abort();
  await watching;
});

test('peers, proxies, certificates, bundles and the state are there to be read', async () => {
  const east = { params: { cluster: 'east' } };
  await waitFor('west as a fresh peer', 60_000, async () => ((await demo.client.call<Page>('listPeers', east)).value.items[0]?.document['state'] === 'fresh') || undefined);
  const proxies = await waitFor('the gateway in sync', 60_000, async () => {
    const { items } = (await demo.client.call<Page>('listProxies', east)).value;
    assert.ok(items.length > 0 && items.every((i) => i.document['inSync'] === true && i.document['ackedVersion'] === i.document['sentVersion']));
    return items;
  });
  assert.equal(proxies[0]?.document['kind'], 'gateway');
  assert.deepEqual((await demo.client.call<Page>('listCertificates', east)).value.items.map((i) => i.key), ['control-plane', 'intermediate', 'root']);
  assert.ok((await demo.client.call<Page>('listBundles', east)).value.items.length >= 2);
  assert.equal((await demo.client.call<{ cluster: string }>('getStatus', east)).value.cluster, 'east');
  assert.deepEqual((await demo.client.call<Page>('listClusters')).value.items.map((i) => i.key), ['east', 'west']);
});

test('a write for another cluster goes to its owner through the gateways, and its owner’s ETag comes back', async () => {
  const made = await waitFor('west through its gateway', 60_000, () => demo.client.call('putServices', { ...at('far', 'west'), body: service('far') }));
  assert.deepEqual(await mesh.federation.admin('west').list('service').then((all) => all.filter((s) => s['name'] === 'far')), [service('far')]);
  assert.equal((await mesh.federation.admin('east').list('service')).filter((s) => s['name'] === 'far').length, 0);
  await assert.rejects(demo.client.call('putServices', { ...at('far', 'west'), body: service('far', 82), ifMatch: '"1"' }), codeOf('CONTROL_PLANE_STALE'));
  assert.equal((await demo.client.call('getServices', at('far', 'west'))).etag, made.etag);
  const exported = await waitFor('west’s exports in east’s mirror', 60_000, async () => {
    const { value } = await demo.client.call<Page>('listExports', { params: { cluster: 'west' } });
    assert.ok(value.items.length > 0);
    return value;
  });
  assert.equal(typeof exported.ageMs, 'number');
  const log = readFileSync(join(mesh.paths.state(names.adminApi('west')), 'audit.log'), 'utf8');
  assert.match(log, new RegExp(`"caller":"${demo.spiffeId}"[^\n]*"forwardedBy":"spiffe://east`));
});

test('a cluster that cannot be reached is a 503 for its part only, beside what its mirror says', async () => {
  const link = mesh.links.get('west');
  assert.ok(link);
  link.cut('refuse');
  try {
    await assert.rejects(demo.client.call('getServices', at('payments', 'west')), (error: IsthmusError) => error.facts['status'] === 503);
    type Status = { clusters: { cluster: string; source: string; ageMs?: number; problem?: { status: number } }[] };
    const { value } = await demo.client.call<Status>('getFederationStatus');
    const west = value.clusters.find((c) => c.cluster === 'west');
    assert.deepEqual([west?.source, west?.problem?.status, typeof west?.ageMs], ['mirror', 503, 'number']);
    assert.equal(value.clusters.find((c) => c.cluster === 'east')?.problem, undefined);
    assert.ok((await demo.client.call<Page>('listExports', { params: { cluster: 'west' } })).value.items.length > 0);
    assert.equal((await demo.client.call('putServices', { ...at('near'), body: service('near') })).status, 201);
  } finally {
    link.heal();
  }
});

test('what was acknowledged is in the audit log after kill -9, and the chain holds', async () => {
  const acknowledged: string[] = [];
  let isOver = false;
  const writing = Promise.all([0, 1, 2, 3].map(async (worker) => {
    for (let i = 0; !isOver; i += 1) {
      const name = `kill-${worker}-${i}`;
      await demo.client.call('putServices', { ...at(name), body: service(name) }).then(() => acknowledged.push(name), () => (isOver = true));
    }
  }));
  await waitFor('some writes', 60_000, async () => (acknowledged.length >= 20) || undefined);
  await mesh.supervisor.kill(names.adminApi('east'));
  isOver = true;
  await writing;
  const log = readFileSync(join(mesh.paths.state(names.adminApi('east')), 'audit.log'), 'utf8');
  const lines = log.split('\n').flatMap((line) => (line.endsWith('}') ? [JSON.parse(line) as { kind: string; facts: { path?: string } }] : []));
  const done = new Set(lines.filter((l) => l.kind === 'done').map((l) => l.facts.path?.split('/').at(-1)));
  assert.deepEqual(acknowledged.filter((name) => !done.has(name)), []);
  await mesh.supervisor.restart(names.adminApi('east'));
  const { value } = await waitFor('the admin API to answer again', 60_000, () => demo.client.call<Page>('listAudit', { params: { cluster: 'east' }, query: { limit: '1' } }));
  assert.ok(Number(value.items[0]?.key) >= lines.length);
});

test('an operator whose entry is taken cannot renew, and one without a grant is refused', async () => {
  const guest = await openOperator(mesh, 'east', 'guest');
  try {
    await assert.rejects(guest.client.call('listServices', { params: { cluster: 'east' } }), codeOf('API_DENIED'));
    assert.equal((await guest.client.call<{ caller: string; grants: unknown[] }>('getWhoAmI')).value.grants.length, 0);
    await demo.client.call('deleteEntries', { params: { cluster: 'east', role: 'operator', agent: 'guest' } });
    await assert.rejects(demo.client.call('getEntries', { params: { cluster: 'east', role: 'operator', agent: 'guest' } }), codeOf('API_NOT_FOUND'));
  } finally {
    await guest.close();
  }
  assert.ok(clusterOf(mesh.topology, 'east'));
});

type Member = { name: string; connected: boolean; inSync?: boolean; drain: { wanted: boolean; acknowledged: boolean; state: string; connections?: number; workloads?: string[]; problem?: string } };
const VM = { params: { cluster: 'west', agent: 'west-2' } };
const DRAIN = { params: { cluster: 'west', role: 'agent', name: 'west-2' } };

test('an agent of another cluster is drained as a wish that it follows, keeps over a restart, and has taken back', async () => {
  const west = clusterOf(mesh.topology, 'west');
  const plan = west.agents.find((a) => a.name === 'west-2');
  assert.ok(plan);
  await mesh.federation.startAgent(west, plan);
  const member = () => demo.client.call<Member>('getAgents', VM).then(({ value }) => value);
  await waitFor('the agent to serve', 60_000, async () => ((await member()).drain.state === 'serving') || undefined);
  assert.ok((await member()).inSync);
  const body = { kind: 'drain', role: 'agent', name: 'west-2', reason: 'a new disk' };
  await assert.rejects(demo.client.call('putDrains', { params: { ...DRAIN.params, name: 'nobody' }, body: { ...body, name: 'nobody' } }), codeOf('CONTROL_PLANE_PROXY_UNKNOWN'));
  await demo.client.call('putDrains', { ...DRAIN, body, query: { dryRun: 'true' } });
  await assert.rejects(demo.client.call('getDrains', DRAIN), codeOf('API_NOT_FOUND'));
  const made = await demo.client.call('putDrains', { ...DRAIN, body, ifNoneMatch: '*', idempotencyKey: 'drain-1' });
  assert.equal((await demo.client.call('putDrains', { ...DRAIN, body, ifNoneMatch: '*', idempotencyKey: 'drain-1' })).status, made.status, 'the same request again is the same answer');
  const drained = async (): Promise<Member | undefined> => member().then((m) => (m.drain.acknowledged && m.drain.state === 'drained' ? m : undefined));
  await waitFor('the drain to be acknowledged', 30_000, drained);
  const healths = async (): Promise<unknown[]> => (await demo.client.call<Page>('listWorkloads', { params: { cluster: 'west' } })).value.items.map((i) => i.document['health']);
  await waitFor('its workloads to drain', 30_000, async () => ((await healths()).every((health) => health === 'draining')) || undefined);
  await mesh.supervisor.kill('west-2');
  await mesh.supervisor.restart('west-2');
  await waitFor('the agent, drained as before', 60_000, async () => ((await member()).connected && (await drained()) !== undefined) || undefined);
  await assert.rejects(demo.client.call('deleteDrains', { ...DRAIN, ifMatch: '"1"' }), (error: IsthmusError) => error.facts['status'] === 412);
  await demo.client.call('deleteDrains', { ...DRAIN, ifMatch: made.etag });
  await waitFor('the agent to serve again', 30_000, async () => ((await member()).drain.state === 'serving' && !(await healths()).includes('draining')) || undefined);
  await assert.rejects(demo.client.call('readmitAgent', { params: { cluster: 'west' }, body: { agent: 'west-2' } }), codeOf('API_NOT_FOUND'));
});

test('a gateway says what it acknowledged, and the last one is not drained', async () => {
  const { items } = (await demo.client.call<Page>('listGateways', { params: { cluster: 'east' } })).value;
  const gateway = names.gateway('east');
  assert.deepEqual(items.map((i) => [i.key, i.document['connected'], i.document['inSync'], (i.document as unknown as Member).drain.state]), [[gateway, true, true, 'serving']]);
  await assert.rejects(demo.client.call('putDrains', { params: { cluster: 'east', role: 'gateway', name: gateway }, body: { kind: 'drain', role: 'gateway', name: gateway } }), (error: IsthmusError) => error.code === 'CONTROL_PLANE_LAST_GATEWAY' && error.facts['status'] === 409);
});

/** Starts the other gateway of west as an operator would: with a token of its cluster and a configuration of its own. */
async function startSecondGateway(): Promise<void> {
  const { federation, paths, supervisor, topology } = mesh;
  const address = (name: string): string => `127.0.0.1:${federation.port(name)}`;
  const { token } = await federation.admin('west').createJoinToken({ agent: SECOND, role: 'gateway', services: [], ttlSeconds: 600 });
  const controlPlane = address(names.controlPlane('west'));
  const config = {
    stateDir: paths.state(SECOND),
    server: { address: controlPlane },
    joinToken: token,
    network: 'west',
    locality: clusterOf(topology, 'west').locality,
    workers: 1,
    listen: { host: '127.0.0.1', port: secondPort },
    reserved: { 'control-plane': controlPlane, store: controlPlane, 'trust-root': address(names.trustRoot), admin: address(names.adminApi('west')) },
    adminSocket: paths.socket(SECOND),
  };
  writeFileSync(paths.config(SECOND), JSON.stringify(config), { mode: 0o600 });
  await supervisor.start({ name: SECOND, command: process.execPath, args: [appMain('gateway'), '--config', paths.config(SECOND)], logFile: paths.log(SECOND), isReady: (line) => line.includes('"msg":"ready"'), readyLimitMs: 60_000 });
}

test('of two gateways one is drained, and no request across clusters fails: all go through the other, and back when the drain is taken back', { timeout: 150_000 }, async () => {
  const [east, west] = [clusterOf(mesh.topology, 'east'), clusterOf(mesh.topology, 'west')];
  const [caller, server] = [east.agents[0], west.agents[0]];
  assert.ok(caller !== undefined && server?.workload !== undefined);
  await Promise.all([startSecondGateway(), mesh.federation.startWorkload(west, server.workload), mesh.federation.startAgent(east, caller)]);
  const load = startLoad(outboundOf(mesh.federation, caller.name, LEDGER), { clients: 4, pauseMs: 5 });
  let ways: readonly string[] = [];
  const end = new AbortController();
  const watching = mesh.federation.proxy(caller.name).watchService(LEDGER, end.signal, ({ view }) => (ways = (view?.endpoints ?? []).map(({ host, ports }) => `${host}:${ports['http']}`)));
  const told = (gateway: string, state: RegExp): Promise<Member> =>
    waitFor(`${gateway} to be ${state}`, 60_000, async () => {
      const { value } = await demo.client.call<Member>('getGateways', { params: { cluster: 'west', gateway } });
      return value.connected && value.drain.acknowledged && state.test(value.drain.state) ? value : undefined;
    });
  const answered = async (): Promise<void> => {
    load.mark();
    await waitFor('two hundred answers', 30_000, () => load.facts().requests >= 200 || undefined);
    assert.deepEqual([load.facts().failures, Object.keys(load.facts().byCluster)], [[], ['west']]);
  };
  const drainOf = (name: string) => ({ params: { cluster: 'west', role: 'gateway', name } });
  /** Drains a gateway; resolves when the caller goes by the other way alone and nothing is under way by this one. */
  const drain = async (name: string, address: string): Promise<void> => {
    await waitFor('both ways to be known', 30_000, () => ways.length === 2 || undefined);
    load.mark();
    await demo.client.call('putDrains', { ...drainOf(name), body: { kind: 'drain', role: 'gateway', name } });
    await told(name, /^drain/);
    await waitFor('the caller to know the other way alone', 30_000, () => (ways.length === 1 && !ways.includes(address)) || undefined);
    const moved = load.facts().requests;
    await waitFor('what was under way to end', 30_000, () => load.facts().requests >= moved + 50 || undefined);
    assert.deepEqual(load.facts().failures, [], `while ${name} drains`);
    await told(name, /^drained$/);
  };
  const first = names.gateway('west');
  const link = mesh.links.get('west');
  assert.ok(link !== undefined);
  try {
    await waitFor('an answer across clusters', 60_000, () => load.facts().byCluster['west']);
    await drain(first, `127.0.0.1:${link.port}`);
    // Whatever still goes through it fails now.
    link.cut('refuse');
    await answered();
    link.heal();
    await demo.client.call('deleteDrains', drainOf(first));
    await told(first, /^serving$/);
    await drain(SECOND, `127.0.0.1:${secondPort}`);
    await mesh.supervisor.kill(SECOND);
    await answered();
  } finally {
    end.abort();
    await Promise.all([load.stop(), watching]);
  }
});

test('a person logs in through the gateway, and every command then goes over the admin API', async () => {
  const home = mkdtempSync(join(tmpdir(), 'isthmus-home-'));
  try {
    const env = { ISTHMUS_HOME: home };
    const cli = (args: readonly string[], input?: string) => isthmus(args, { env, limitMs: 60_000, ...(input !== undefined && { input }) });
    const ok = async (args: readonly string[], input?: string): Promise<string> => {
      const finished = await cli(args, input);
      assert.equal(finished.code, 0, `${args.join(' ')}: ${finished.stderr}`);
      return finished.stdout;
    };
    assert.equal((await cli(['whoami'])).code, 66, 'nobody is logged in');
    const { token } = await mesh.federation.admin('east').createJoinToken({ agent: DEMO_OPERATOR, role: 'operator', services: [], ttlSeconds: 600 });
    const gateway = `127.0.0.1:${mesh.federation.port(names.gateway('east'))}`;
    assert.match(await ok(['login', '--token', '-', '--server', gateway], `${token}\n`), /logged in as spiffe:\/\/east\..*\/operator\/demo; context east is in use/);
    assert.equal(statSync(join(home, 'contexts.json')).mode & 0o777, 0o600);
    assert.match(await ok(['whoami']), /operator in clusters all, namespaces all/);
    assert.match(await ok(['context', 'export', '--out', join(home, 'pem')]), /operator\/demo in .*\/pem, good until /);
    for (const file of ['svid.pem', 'key.pem', 'ca.pem']) assert.equal(statSync(join(home, 'pem', file)).mode & 0o777, 0o600, file);
    const exported = readFileSync(join(home, 'pem', 'svid.pem'), 'utf8');
    assert.ok(new X509Certificate(exported).checkPrivateKey(createPrivateKey(readFileSync(join(home, 'pem', 'key.pem'), 'utf8'))), 'the key belongs to the certificate');
    assert.match(await ok(['context', 'list']), /\* +east +east\./);

    const document = 'kind: service\nnamespace: shop\nname: typed\nports:\n  - { name: http, port: 80, protocol: http }\n';
    const different = await cli(['diff', '-f', '-'], document);
    assert.deepEqual([different.code, different.stdout.split('\n')[0]], [1, 'create service shop/typed']);
    assert.match(await ok(['apply', '--dry-run', '-f', '-'], document), /would be applied/);
    assert.match(await ok(['apply', '-f', '-'], document), /applied/);
    assert.equal(await ok(['diff', '-f', '-'], document), 'nothing differs\n');
    const changed = await cli(['diff', '-f', '-', '-o', 'json'], document.replace('80', '81'));
    assert.equal(changed.code, 1);
    assert.deepEqual((JSON.parse(changed.stdout) as { lines: string[] }[])[0]?.lines.filter((l) => !l.startsWith(' ')).map((l) => l.replace(/ +/g, ' ')), ['- port: 80', '+ port: 81']);
    assert.match(await ok(['get', 'service', 'shop/typed', '-o', 'yaml']), /name: typed\nports:\n {2}- name: http/);
    assert.match(await ok(['get', 'services', '-n', 'shop']), /NAMESPACE +NAME +PORTS\nshop[^]* +typed +http=80\/http/);
    assert.match(await ok(['status']), /\neast +answers +from itself[^]*\nwest +answers +from itself, now[^]*root of trust: [0-9a-f]{12} signing/);
    assert.match(await ok(['status', '--cluster', 'west']), /cluster +west of/);
    assert.match(await ok(['service', 'list', '--cluster', 'west']), /ledger/);
    const made = JSON.parse(await ok(['token', 'create', 'vm-cli', '--service', 'shop/typed', '-o', 'json'])) as { token: string; id: string };
    assert.match(made.token, /^ijt1\./);
    assert.match(await ok(['token', 'delete', made.id]), /deleted/);
    assert.match(await ok(['delete', '-f', '-'], document), /deleted/);
    const west = ['--cluster', 'west'];
    assert.match(await ok(['agent', 'drain', 'west-2', '--reason', 'a new disk', '--wait', ...west]), /^west-2 drains: it gets nothing new\ndrained/);
    assert.match(await ok(['status']), /west-2[^]*out of service: a new disk/);
    const shown = JSON.parse(await ok(['agent', 'status', 'west-2', '-o', 'json', ...west])) as Member;
    assert.deepEqual([shown.drain.state, shown.inSync], ['drained', true]);
    assert.match(await ok(['get', 'drains', ...west]), /west-2 +drain|agent +west-2|west-2/);
    assert.match(await ok(['agent', 'undrain', 'west-2', '--wait', ...west]), /back in service\nserving/);
    assert.match(await ok(['agent', 'drain', 'west-2', 'shop/nothing', 'one', ...west]), /shop\/nothing\/one drains/);
    await waitFor('the agent to say that it has no such workload', 30_000, async () => /no such workload here: shop\/nothing\/one/.test(await ok(['agent', 'status', 'west-2', ...west])) || undefined);
    assert.match(await ok(['agent', 'undrain', 'west-2', 'shop/nothing', 'one', ...west]), /back in service/);
    assert.equal((await cli(['agent', 'undrain', 'west-2', ...west])).code, 66);
    assert.match(await ok(['gateway', 'list']), /east-gateway +yes .*acknowledged +serving/);
    assert.match((await cli(['gateway', 'drain', 'east-gateway'])).stderr, /CONTROL_PLANE_LAST_GATEWAY/);
    assert.equal((await cli(['agent', 'readmit', 'vm-nobody'])).code, 66);
    assert.equal((await cli(['get', 'service', 'shop/typed'])).code, 66);
    assert.equal((await cli(['get', 'gizmos'])).code, 65);
    assert.equal((await cli(['service', 'list', '--context', 'nowhere'])).code, 66);
    assert.match(await ok(['context', 'remove', 'east']), /forgotten/);
    assert.equal((await cli(['whoami'])).code, 66);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
