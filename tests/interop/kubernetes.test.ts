// A real kube-apiserver, with the real EndpointSlice controller, as a source; built by tests/interop/kubernetes/build.sh.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type KubernetesSource, openKubernetesSource, openNodeEndpoints } from '@isthmus/discovery/kubernetes';
import { waitFor } from '@isthmus/harness';
import { formatServiceName } from '@isthmus/model';
import { parseJwks, verifyIssuerToken } from '@isthmus/pki';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { ALL, LEAST, noHelm, renderChart, sidecarExample } from './kubernetes/chart.ts';
import { startRecorder } from './kubernetes/recording.ts';
import { conditionsOf, createExport, createService, deleteExport, deleteService, endPod, makeNode, prepare, runPod, tellPod } from './kubernetes/scenario.ts';
import { type KubernetesServer, kubernetesProgram, noKubernetes, startKubernetes } from './kubernetes/server.ts';

const LIMIT_MS = 90_000;
const directory = mkdtempSync(join(tmpdir(), 'isthmus-kubernetes-'));
const parts = { clock: systemClock, random: systemRandom, log: silentLog(), facts: () => ({ imports: [], registeredCount }) };
const PAYMENTS = { namespace: 'shop', name: 'payments' };
let registeredCount = 0;
let server: KubernetesServer;
let source: KubernetesSource;
let recorder: Awaited<ReturnType<typeof startRecorder>>;
/** Through the recorder, and past it. */
let recorded: string;
let direct: string;

before(async () => {
  if (noKubernetes !== false) return;
  server = await startKubernetes(join(directory, 'cluster'));
  await prepare(server);
  recorder = await startRecorder(server);
  [recorded, direct] = [join(directory, 'recorded'), join(directory, 'direct')];
  writeFileSync(recorded, server.kubeconfig(recorder.url));
  writeFileSync(direct, server.kubeconfig());
  source = await openKubernetesSource({ kubeconfig: recorded, ...parts, metrics: openMetrics() });
  await until('the first lists', () => source.status().known);
}, { timeout: 300_000 });
after(async () => {
  await source?.close();
  recorder?.close();
  await server?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Waits; what the source says of itself stands in the error. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  await waitFor(what, LIMIT_MS, async () => (await holds()) || undefined).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(source.status().followed)}`);
  });
}
const names = (): string[] => source.services().map(formatServiceName).sort();
const options = { skip: noKubernetes, timeout: 300_000 };
const withoutControllers = noKubernetes === false && kubernetesProgram('kube-controller-manager') === undefined ? 'no kube-controller-manager here' : noKubernetes;

test('Services of every kind are declared or left out with the reason, with the rights of the chart and no others', options, async () => {
  await createService(server, 'payments', { selector: { app: 'payments' }, ports: [{ name: 'http', port: 80, targetPort: 8_080 }, { name: 'dns', port: 53, protocol: 'UDP' }] }, { 'isthmus/agent': 'node' });
  await createService(server, 'ledger', { clusterIP: 'None', selector: { app: 'ledger' }, ports: [{ port: 9_000, appProtocol: 'grpc' }] });
  await createService(server, 'elsewhere', { type: 'ExternalName', externalName: 'db.example.com' });
  await until('the services', () => names().length === 2 && source.status().leftOut.length === 2);
  assert.deepEqual(source.service(PAYMENTS)?.ports, [{ name: 'http', port: 80, protocol: 'http' }]);
  assert.deepEqual(source.service({ namespace: 'shop', name: 'ledger' })?.ports, [{ name: 'default', port: 9_000, protocol: 'grpc' }]);
  assert.deepEqual(source.status().leftOut.map((l) => l.name).sort(), ['shop/elsewhere', 'shop/payments']);
});

test('a ServiceExport is an export, to those its annotation names, and its conditions are written by server-side apply', options, async () => {
  await createExport(server, 'payments', { 'isthmus/consumers': 'west' });
  await createExport(server, 'elsewhere');
  await createExport(server, 'nothing');
  await until('the export', () => source.export(PAYMENTS) !== undefined);
  assert.deepEqual(source.export(PAYMENTS)?.consumers, ['west']);
  assert.equal(source.exports().length, 1);
  await until('the conditions', async () => (await conditionsOf(server, 'nothing'))['Valid'] === 'False NoService');
  await until('the conditions', async () => (await conditionsOf(server, 'elsewhere'))['Valid'] === 'False InvalidServiceType');
  await until('the conditions', async () => (await conditionsOf(server, 'payments'))['Valid'] === 'True Valid');
  assert.deepEqual(await conditionsOf(server, 'payments'), { Valid: 'True Valid', Ready: 'False Pending', Conflict: 'False NoConflicts' });
  registeredCount = 1;
  source.reconsider([PAYMENTS]);
  await until('the next condition', async () => (await conditionsOf(server, 'payments'))['Ready'] === 'True Exported');
});

test('pods become endpoints by the real EndpointSlice controller: ready, not ready, ending; those of a node go to its agent', { ...options, skip: withoutControllers }, async () => {
  await makeNode(server, 'node-1', 'eu-a');
  await makeNode(server, 'node-2', 'eu-b');
  await runPod(server, 'payments-1', { address: '10.244.1.5', node: 'node-1', labels: { app: 'payments' } });
  await runPod(server, 'payments-2', { address: '10.244.2.5', node: 'node-2', labels: { app: 'payments' }, ready: false });
  const ofPayments = (): string[] => source.endpoints(PAYMENTS).map((e) => `${e.instance} ${e.address} ${e.health} ${e.nodeName} ${e.zone} ${JSON.stringify(e.ports)}`).sort();
  const [one, two] = ['payments-1 10.244.1.5 healthy node-1 eu-a {"http":8080}', 'payments-2 10.244.2.5 unhealthy node-2 eu-b {"http":8080}'];
  await until('the endpoints', () => JSON.stringify(ofPayments()) === JSON.stringify([one, two]));
  const node = await openNodeEndpoints({ kubeconfig: direct, nodeName: 'node-2', onChange: () => undefined, ...parts, metrics: openMetrics() });
  try {
    await until('the pod of the node', () => node.list()?.length === 1);
    assert.equal(node.list()?.[0]?.instance, 'payments-2');
    await tellPod(server, 'payments-2', '10.244.2.5', true);
    await until('the readiness', () => node.list()?.[0]?.health === 'healthy');
    await endPod(server, 'payments-2', 600);
    await until('the end', () => node.list()?.[0]?.health === 'draining');
    await endPod(server, 'payments-2', 0);
    await until('no pod', () => node.list()?.length === 0);
  } finally {
    await node.close();
  }
  assert.deepEqual(ofPayments(), [one]);
});

test('a token the API server makes for a pod verifies by the keys it publishes, and names what the rules of the chart match', { ...options, skip: withoutControllers }, async () => {
  await server.ask('POST', '/api/v1/namespaces/shop/serviceaccounts', { metadata: { name: 'node-agent' } });
  await server.ask('POST', '/api/v1/namespaces/shop/pods', { metadata: { name: 'agent-x' }, spec: { nodeName: 'node-1', serviceAccountName: 'node-agent', containers: [{ name: 'a', image: 'a' }] } });
  const { status } = (await server.ask('POST', '/api/v1/namespaces/shop/serviceaccounts/node-agent/token', { spec: { audiences: ['isthmus://east'], expirationSeconds: 600, boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'agent-x' } } })) as { readonly status: { readonly token: string } };
  const keys = parseJwks(JSON.stringify(await server.ask('GET', '/openid/v1/jwks')));
  assert.ok(keys.ok);
  const read = await verifyIssuerToken({ token: status.token, keys: keys.value, issuer: 'https://kubernetes.default.svc.cluster.local', audience: 'isthmus://east', maxLifeMs: 86_400_000, nowMs: Date.now() });
  assert.ok(read.ok, JSON.stringify(read));
  const claims = read.claims['kubernetes.io'] as { readonly namespace: string; readonly node: { readonly name: string }; readonly pod: { readonly name: string }; readonly serviceaccount: { readonly name: string } };
  assert.deepEqual([claims.namespace, claims.node.name, claims.pod.name, claims.serviceaccount.name], ['shop', 'node-1', 'agent-x', 'node-agent']);
});

test('kill -9 of the API server changes nothing that is known; what happened meanwhile is found after it', options, async () => {
  const before = names();
  await server.kill();
  await until('the loss', () => source.status().followed.every((f) => !f.current));
  assert.deepEqual(names(), before);
  assert.equal(source.export(PAYMENTS)?.name, 'payments');
  await server.restart();
  await until('the way back', () => source.status().followed.every((f) => f.current));
  await createService(server, 'new', { selector: { app: 'new' }, ports: [{ name: 'grpc', port: 90 }] });
  await until('the new service', () => names().includes('shop/new'));
});

test('a store whose history was compacted while the API server was down is listed anew, and only the difference is told', options, async () => {
  const told: string[] = [];
  const stop = source.onChange((changed) => told.push(...changed.map(formatServiceName)));
  // The watch is held off, so that deletions happen which no event will ever tell.
  const heldOff = await holdOff();
  await deleteService(server, 'new');
  await deleteExport(server, 'payments');
  await server.kill();
  await server.restart({ compacted: true });
  heldOff();
  await until('the difference', () => !names().includes('shop/new') && source.export(PAYMENTS) === undefined);
  await until('the way back', () => source.status().followed.every((f) => f.current));
  stop();
  assert.deepEqual([...new Set(told)].sort(), ['shop/new', 'shop/payments']);
});

test('a source without rights says so, and takes nothing for empty', options, async () => {
  await server.ask('DELETE', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/isthmus');
  const denied = await openKubernetesSource({ kubeconfig: direct, ...parts, metrics: openMetrics() });
  await until('the refusal', () => denied.status().followed.every((f) => f.problem?.includes('403') === true));
  assert.match(denied.status().followed[0]?.problem ?? '', /services is forbidden: User "isthmus" cannot list/);
  assert.equal(denied.status().known, false);
  await denied.close();
  assert.ok(names().length > 0, 'the source that has its watches goes on');
});

test('every object of the chart, and of the example beside it, is taken by the API server, by server-side dry run', { ...options, skip: noKubernetes === false ? noHelm : noKubernetes }, async () => {
  await server.ask('POST', '/api/v1/namespaces', { metadata: { name: 'isthmus' } });
  for (const manifests of [sidecarExample(), ...[LEAST, ALL, [...ALL, 'controlPlane.kubernetes.namespaces={shop}', 'nodeAgent.namespaces={shop}']].map((values) => renderChart(values))]) {
    for (const manifest of manifests.filter((m) => m.kind !== 'CustomResourceDefinition')) {
      const [group, plural] = [manifest.apiVersion === 'v1' ? '/api/v1' : `/apis/${manifest.apiVersion}`, manifest.kind === 'NetworkPolicy' ? 'networkpolicies' : `${manifest.kind.toLowerCase()}s`];
      const place = manifest.kind.startsWith('Cluster') ? '' : `/namespaces/${manifest.metadata.namespace ?? 'isthmus'}`;
      // Strictly: a field the server does not know is an error, not a warning.
      await server.ask('POST', `${group}${place}/${plural}?dryRun=All&fieldValidation=Strict`, manifest);
    }
  }
});

test('two releases of one name in two namespaces of a real server both have their rights, and neither the other’s', { ...options, skip: noKubernetes === false ? noHelm : noKubernetes }, async () => {
  const allowed = async (namespace: string, account: string, resource: object): Promise<boolean> => {
    const spec = { user: `system:serviceaccount:${namespace}:${account}`, groups: ['system:serviceaccounts'], resourceAttributes: resource };
    const { status } = (await server.ask('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec })) as { readonly status: { readonly allowed: boolean } };
    return status.allowed;
  };
  const install = async (namespace: string): Promise<void> => {
    for (const manifest of renderChart(ALL, { namespace }).filter((m) => m.kind.startsWith('ClusterRole'))) await server.ask('POST', `/apis/${manifest.apiVersion}/${manifest.kind.toLowerCase()}s`, manifest);
  };
  const services = { verb: 'watch', resource: 'services' };
  await install('mesh-a');
  await until('the first one’s right', () => allowed('mesh-a', 'east-control-plane', services));
  assert.equal(await allowed('mesh-b', 'east-control-plane', services), false);
  await install('mesh-b');
  await until('the second one’s right', () => allowed('mesh-b', 'east-control-plane', services));
  assert.equal(await allowed('mesh-b', 'east-gateway', services), false);
  assert.equal(await allowed('mesh-b', 'east-control-plane', { verb: 'list', resource: 'secrets' }), false);
});

test('six hundred Services are listed in pages of a real server', options, async () => {
  const file = process.env['ISTHMUS_KUBERNETES_RECORD'];
  if (file !== undefined) recorder.save(file);
  await server.ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'isthmus' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'isthmus' },
    subjects: [{ kind: 'User', name: 'isthmus', apiGroup: 'rbac.authorization.k8s.io' }],
  });
  for (let from = 0; from < 600; from += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => createService(server, `many-${from + i}`, { clusterIP: 'None', ports: [{ name: 'http', port: 80 }] })));
  const many = await openKubernetesSource({ kubeconfig: direct, ...parts, metrics: openMetrics(), writeStatus: false });
  await until('all of them', () => many.status().known);
  assert.equal(many.services().filter((s) => s.name.startsWith('many-')).length, 600);
  await many.close();
});

/** Ends every watch and refuses new ones until it is let go. */
async function holdOff(): Promise<() => void> {
  const release = recorder.refuse();
  await until('the held watches', () => source.status().followed.every((f) => !f.current));
  return release;
}
