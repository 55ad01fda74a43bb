import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { formatServiceName, type ImportedService } from '@isthmus/model';
import { openStateFile, systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { anImport, until } from '../../testing.ts';
import { openNodeEndpoints } from './front.ts';
import { ENDPOINT_SLICES, SERVICE_EXPORTS, SERVICES } from './kinds.ts';
import { aKubeService, aPod, aServiceExport, aSlice, type ScriptedApiServer, startScriptedApiServer } from './scripted-api-server.ts';
import { type KubernetesSource, type KubernetesSourceOptions, openKubernetesSource } from './source.ts';

const [SERVICE_PATH, EXPORT_PATH, SLICE_PATH] = [SERVICES.path(undefined), SERVICE_EXPORTS.path(undefined), ENDPOINT_SLICES.path(undefined)];
const PAYMENTS = { namespace: 'shop', name: 'payments' };
let server: ScriptedApiServer;
let dir: string;
let kubeconfig: string;
const opened: { close(): Promise<void> }[] = [];
const parts = { clock: systemClock, random: systemRandom, log: silentLog() };

beforeEach(async () => {
  server = await startScriptedApiServer();
  dir = await mkdtemp(join(tmpdir(), 'kube-source-'));
  kubeconfig = join(dir, 'kubeconfig');
  await writeFile(kubeconfig, `current-context: t\ncontexts: [{ name: t, context: { cluster: t } }]\nclusters: [{ name: t, cluster: { server: "${server.url}" } }]\n`);
});
afterEach(async () => {
  for (const one of opened.splice(0).toReversed()) await one.close();
  await server.close();
  await rm(dir, { recursive: true });
});

async function open(over: Partial<KubernetesSourceOptions> = {}): Promise<KubernetesSource> {
  const source = await openKubernetesSource({ kubeconfig, facts: () => ({ imports: [], registeredCount: 0 }), ...parts, metrics: openMetrics(), ...over });
  opened.push(source);
  return source;
}
const serviceNames = (source: KubernetesSource): string[] => source.services().map(formatServiceName).sort();
const exportNames = (source: KubernetesSource): string[] => source.exports().map(formatServiceName).sort();
type Applied = { readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] } };
const conditions = (): Record<string, string> => {
  const last = server.applied.at(-1)?.body as Applied | undefined;
  return Object.fromEntries((last?.status.conditions ?? []).map((c) => [c.type, `${c.status} ${c.reason}${c.message === '' ? '' : `: ${c.message}`}`]));
};

test('Services and ServiceExports become services and exports, and every change is told by name', async () => {
  server.put(SERVICE_PATH, aKubeService('payments'));
  server.put(SERVICE_PATH, aKubeService('kubernetes', { namespace: 'default' }));
  server.put(SERVICE_PATH, aKubeService('dns', { namespace: 'kube-system' }));
  server.put(EXPORT_PATH, aServiceExport('payments', { annotations: { 'isthmus/consumers': 'west' } }));
  const source = await open();
  const told: string[] = [];
  source.onChange((names) => told.push(...names.map(formatServiceName)));
  await until(() => source.exports().length === 1, 'the export');
  assert.deepEqual(serviceNames(source), ['shop/payments'], 'Kubernetes’ own are left alone');
  assert.deepEqual(source.export(PAYMENTS)?.consumers, ['west']);
  told.length = 0;
  server.put(SERVICE_PATH, aKubeService('ledger'));
  server.delete(EXPORT_PATH, 'shop', 'payments');
  await until(() => source.exports().length === 0 && source.service({ namespace: 'shop', name: 'ledger' }) !== undefined, 'the changes');
  assert.deepEqual(told.sort(), ['shop/ledger', 'shop/payments']);
  server.put(EXPORT_PATH, aServiceExport('nothing'));
  await until(() => source.status().leftOut.length === 1, 'the export of nothing');
  assert.deepEqual(exportNames(source), [], 'an export without a Service is none');
});

test('a start while the API server is away has what was last known; the first whole lists take its place', async () => {
  const stateFile = openStateFile(join(dir, 'last-known'));
  server.put(SERVICE_PATH, aKubeService('payments'));
  server.put(SERVICE_PATH, aKubeService('ledger'));
  server.put(EXPORT_PATH, aServiceExport('payments'));
  const before = await open({ stateFile });
  await until(() => before.exports().length === 1 && before.services().length === 2, 'everything');
  await before.close();
  server.mischief = (_request, response) => {
    response.writeHead(503).end();
    return true;
  };
  const after = await open({ stateFile: openStateFile(join(dir, 'last-known')) });
  assert.deepEqual([serviceNames(after), exportNames(after)], [['shop/ledger', 'shop/payments'], ['shop/payments']]);
  assert.equal(after.exportedAtMs(PAYMENTS), Date.parse('2026-01-01T00:00:00Z'), 'when it was exported, which decides between clusters');
  const asked = server.asked.length;
  await until(() => server.asked.length >= asked + 6, 'tries in vain');
  assert.equal(after.services().length, 2);
  assert.equal(after.status().known, false);
  server.mischief = ({ path }, response) => {
    if (path !== SERVICE_PATH) return false;
    response.writeHead(503).end();
    return true;
  };
  await until(() => after.status().followed.some((f) => f.resource === 'serviceexports' && f.current), 'the exports, while there are no services yet');
  assert.deepEqual([serviceNames(after), exportNames(after)], [['shop/ledger', 'shop/payments'], ['shop/payments']], 'a kind that is not known yet stays as it was');
  server.delete(SERVICE_PATH, 'shop', 'ledger');
  // Exports answer last: until they are known whole, those of before stay.
  server.mischief = ({ path }, response) => {
    if (path !== EXPORT_PATH) return false;
    response.writeHead(404).end('404 page not found');
    return true;
  };
  server.forget();
  await until(() => after.services().length === 1, 'the new list of services');
  assert.deepEqual(exportNames(after), ['shop/payments'], 'custom resources that are not served yet are no empty list');
  server.mischief = undefined;
  await until(() => after.status().known, 'all lists');
  assert.deepEqual([serviceNames(after), exportNames(after)], [['shop/payments'], ['shop/payments']]);
});

test('a state file that was damaged is no reason not to start', async () => {
  await writeFile(join(dir, 'last-known'), 'sha256 00\n{}', { mode: 0o600 });
  const source = await open({ stateFile: openStateFile(join(dir, 'last-known')) });
  assert.deepEqual(source.services(), []);
});

test('conditions of an export say whether it is valid, has workloads with an agent, and agrees with other clusters; written once', async () => {
  let registeredCount = 0;
  let imports: readonly ImportedService[] = [];
  server.put(EXPORT_PATH, aServiceExport('payments'));
  const source = await open({ facts: () => ({ registeredCount, imports }) });
  await until(() => conditions()['Valid'] !== undefined, 'a first status');
  assert.match(conditions()['Valid'] ?? '', /^False NoService/);
  server.put(SERVICE_PATH, aKubeService('payments'));
  server.put(SLICE_PATH, aSlice('payments', [aPod('p-1', '10.1.0.5')]));
  await until(() => /no agent|have no agent/.test(conditions()['Ready'] ?? ''), 'the endpoints without an agent');
  assert.deepEqual(source.status().withoutAgent, [{ name: 'shop/payments', endpoints: 1 }]);
  assert.equal(conditions()['Valid'], 'True Valid');
  registeredCount = 1;
  source.reconsider([PAYMENTS]);
  await until(() => conditions()['Ready'] === 'True Exported', 'ready');
  assert.equal(conditions()['Conflict'], 'False NoConflicts');
  imports = [anImport({ ports: [{ name: 'http', port: 8080, protocol: 'grpc' }] })];
  source.reconsider([PAYMENTS]);
  await until(() => (conditions()['Conflict'] ?? '').startsWith('True PortConflict: west has port http as 8080/grpc'), 'the conflict');
  // The server now says so itself: there is nothing left to write.
  const body = server.applied.at(-1)?.body as { readonly status: object };
  const written = server.applied.length;
  server.put(EXPORT_PATH, { ...aServiceExport('payments'), status: body.status });
  server.put(SERVICE_PATH, aKubeService('other'));
  await until(() => source.services().length === 2, 'a later change');
  source.reconsider([PAYMENTS]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(server.applied.length, written);
});

test('where the status may not be written everything else goes on', async () => {
  server.put(SERVICE_PATH, aKubeService('payments'));
  server.put(EXPORT_PATH, aServiceExport('payments'));
  server.mischief = ({ path }, response) => {
    if (!path.endsWith('/status')) return false;
    response.writeHead(403).end(JSON.stringify({ code: 403, reason: 'Forbidden', message: 'cannot patch resource "serviceexports/status"' }));
    return true;
  };
  const source = await open();
  await until(() => source.status().statusProblem !== undefined, 'the refusal');
  assert.match(source.status().statusProblem ?? '', /403.*cannot patch/);
  assert.deepEqual(exportNames(source), ['shop/payments']);
  assert.equal(server.asked.filter((a) => a.path.endsWith('/status')).length, 1, 'asked once, and not again for a minute');
});

test('only the namespaces that are named are asked for', async () => {
  const path = SERVICES.path('shop');
  server.put(path, aKubeService('payments'));
  const source = await open({ namespaces: ['shop', 'kube-system'] });
  await until(() => source.services().length === 1, 'the service');
  assert.deepEqual([...new Set(server.asked.map((a) => a.path))].filter((p) => !p.includes('/namespaces/')), []);
});

test('an agent of a node sees the pods of its node alone, of Services that ask for it, and nothing before it knows', async () => {
  const labels = { 'isthmus/agent': 'node' };
  server.put(SLICE_PATH, aSlice('payments', [aPod('p-1', '10.1.0.5'), aPod('p-2', '10.1.0.6', { nodeName: 'node-2' })], { labels }));
  let changes = 0;
  let isAway = true;
  server.mischief = (_request, response) => {
    if (isAway) response.writeHead(503).end();
    return isAway;
  };
  const node = await openNodeEndpoints({ kubeconfig, nodeName: 'node-1', onChange: () => (changes += 1), ...parts, metrics: openMetrics() });
  opened.push(node);
  await until(() => server.asked.length >= 2, 'tries');
  assert.equal(node.list(), undefined, 'silence is not the word that there are none');
  isAway = false;
  await until(() => node.list() !== undefined, 'the list');
  assert.deepEqual(node.list()?.map((e) => [formatServiceName(e.service), e.instance, e.address]), [['shop/payments', 'p-1', '10.1.0.5']]);
  assert.equal(server.asked[0]?.query.get('labelSelector'), 'isthmus/agent=node');
  server.put(SLICE_PATH, aSlice('payments', [aPod('p-2', '10.1.0.6', { nodeName: 'node-2' })], { labels }));
  await until(() => node.list()?.length === 0, 'the pod that went');
  assert.ok(changes >= 2);
});
