// The Helm chart by the real helm: linted, rendered, and its configurations taken by the programs they are for.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { moduleOf, run } from '@isthmus/harness';
import { ALL, CHART, LEAST, lintChart, type Manifest, noHelm, refusalOf, renderChart, sidecarExample } from './kubernetes/chart.ts';

const options = { skip: noHelm, timeout: 120_000 };
const directory = mkdtempSync(join(tmpdir(), 'isthmus-chart-'));
after(() => rmSync(directory, { recursive: true, force: true }));

type Container = { readonly name: string; readonly env?: readonly { readonly name: string; readonly value?: string }[]; readonly volumeMounts: readonly { readonly mountPath: string; readonly readOnly?: boolean }[]; readonly securityContext: object; readonly livenessProbe: Probe; readonly readinessProbe: Probe; readonly startupProbe: Probe };
type Probe = { readonly httpGet: { readonly path: string; readonly port: string } };
type PodSpec = { readonly securityContext: Readonly<Record<string, unknown>>; readonly automountServiceAccountToken: boolean; readonly containers: readonly Container[]; readonly initContainers?: readonly Container[]; readonly hostNetwork?: boolean };
const podOf = (manifest: Manifest): PodSpec => (manifest['spec'] as { readonly template: { readonly spec: PodSpec } }).template.spec;
const pods = (manifests: readonly Manifest[]): readonly Manifest[] => manifests.filter((m) => ['StatefulSet', 'DaemonSet', 'Deployment'].includes(m.kind));
const named = (manifests: readonly Manifest[], kind: string): string[] => manifests.filter((m) => m.kind === kind).map((m) => m.metadata.name).sort();

test('helm lint has nothing to say', options, () => {
  for (const values of [LEAST, ALL]) assert.match(lintChart(values), /0 chart\(s\) failed/);
});

test('the least there can be is a control plane and two gateways; all there is has a trust root and node agents too', options, () => {
  assert.deepEqual(pods(renderChart(LEAST)).map((m) => `${m.kind} ${m.metadata.name}`).sort(), ['StatefulSet east-control-plane', 'StatefulSet east-gateway']);
  const all = renderChart(ALL);
  assert.deepEqual(pods(all).map((m) => `${m.kind} ${m.metadata.name}`).sort(), ['DaemonSet east-node-agent', 'StatefulSet east-control-plane', 'StatefulSet east-gateway', 'StatefulSet east-trust-root']);
  assert.deepEqual(named(all, 'NetworkPolicy'), ['east-control-plane', 'east-gateway', 'east-node-agent', 'east-trust-root']);
  assert.deepEqual(named(all, 'PodDisruptionBudget'), ['east-gateway']);
  assert.deepEqual(named(all, 'CustomResourceDefinition'), ['serviceexports.multicluster.x-k8s.io']);
});

test('no container has a privilege, may write its root, or goes without probes; a token is mounted only where one is used', options, () => {
  for (const manifest of pods(renderChart(ALL))) {
    const pod = podOf(manifest);
    assert.deepEqual([pod.securityContext['runAsNonRoot'], pod.securityContext['runAsUser'], pod.hostNetwork], [true, 65_532, undefined], manifest.metadata.name);
    for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) assert.deepEqual(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    assert.equal(new Set(pod.containers.map((c) => c.livenessProbe.httpGet.port)).size, pod.containers.length, 'each answers for itself');
    for (const { livenessProbe, readinessProbe, startupProbe } of pod.containers) assert.deepEqual([livenessProbe.httpGet.path, readinessProbe.httpGet.path, startupProbe.httpGet.path], ['/healthz', '/readyz', '/healthz']);
    assert.equal(pod.automountServiceAccountToken, /control-plane|node-agent/.test(manifest.metadata.name));
  }
});

test('rights are to list and watch three kinds, and to say how an export stands; in named namespaces no right is of the whole cluster', options, () => {
  const rules = renderChart(ALL).filter((m) => m.kind === 'ClusterRole').flatMap((m) => m['rules'] as readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[]);
  assert.deepEqual([...new Set(rules.map((r) => `${r.resources.join()} ${r.verbs.join()}`))].sort(), ['endpointslices list,watch', 'serviceexports list,watch', 'serviceexports/status patch', 'services list,watch']);
  const narrow = renderChart([...ALL, 'controlPlane.kubernetes.namespaces={shop,bank}', 'nodeAgent.namespaces={shop}', 'controlPlane.kubernetes.writeStatus=false']);
  assert.deepEqual(named(narrow, 'ClusterRole'), []);
  assert.equal(narrow.filter((m) => m.kind === 'Role').length, 3);
  assert.ok(!JSON.stringify(narrow).includes('serviceexports/status'));
});

test('the admin API stands in the control plane’s pod, sees of its state nothing but its own, and is reached through the gateways', options, () => {
  const manifests = renderChart(ALL);
  const pod = podOf(pods(manifests).find((m) => m.metadata.name === 'east-control-plane') as Manifest);
  const [controlPlane, api] = ['control-plane', 'admin-api'].map((name) => pod.containers.find((c) => c.name === name));
  const mounts = (container: Container | undefined): string[] => (container?.volumeMounts ?? []).map((m) => `${m.mountPath}${'subPath' in m ? ` of ${String(m.subPath)}` : ''}`);
  assert.deepEqual(mounts(api).filter((m) => m.startsWith('/var/lib')), ['/var/lib/isthmus of audit']);
  assert.ok([controlPlane, api].every((c) => mounts(c).includes('/run/isthmus')), 'they meet at the socket');
  const text = (name: string, file: string): string => ((manifests.find((m) => m.kind === 'ConfigMap' && m.metadata.name === name)?.['data'] ?? {}) as Record<string, string>)[file] ?? '';
  assert.match(text('east-gateway', 'gateway.yaml'), /"admin":"east-admin-api\.isthmus\.svc:7200"/);
  assert.match(text('east-control-plane', 'admin-api.yaml'), /controlPlaneSocket: \/run\/isthmus\/control-plane\/admin\.sock[^]*grants: \[{"role":"operator","who":"spiffe:\/\/east/);
  assert.match(text('east-control-plane', 'control-plane.yaml'), /adminSocket: \/run\/isthmus\/control-plane\/admin\.sock/);
  const ports = JSON.stringify(manifests.find((m) => m.kind === 'NetworkPolicy' && m.metadata.name === 'east-control-plane'));
  assert.match(ports, /"port":"api"/);
  assert.ok(!JSON.stringify(renderChart(LEAST)).includes('admin-api'), 'nothing of it where it is not asked for');
});

test('gateways and agents run with the young generation that their units give them; control plane and trust root with Node’s own', options, () => {
  const unit = readFileSync(join(CHART, '../../systemd/isthmus-gateway.service'), 'utf8');
  const [, wanted] = /^Environment=NODE_OPTIONS=(.+)$/m.exec(unit) ?? [];
  assert.ok(wanted !== undefined);
  for (const container of [...pods(renderChart(ALL)), ...sidecarExample().filter((m) => m.kind === 'StatefulSet')].map(podOf).flatMap((pod) => [...pod.containers, ...(pod.initContainers ?? [])])) {
    assert.equal(container.env?.find((one) => one.name === 'NODE_OPTIONS')?.value, container.name === 'gateway' || container.name === 'agent' ? wanted : undefined, container.name);
  }
});

test('behind one address no pod says how it is reached; with an address each, each says its own and has a Service of its own', options, () => {
  const envOf = (values: readonly string[]): readonly { readonly name: string; readonly value?: string }[] => podOf(pods(renderChart(values)).find((m) => m.metadata.name === 'east-gateway') as Manifest).containers[0]?.env ?? [];
  const gatewayServices = (values: readonly string[]): string[] => named(renderChart(values), 'Service').filter((name) => name.startsWith('east-gateway'));
  assert.deepEqual([envOf(LEAST).map((one) => one.name), gatewayServices(LEAST)], [['NODE_OPTIONS'], ['east-gateway']]);
  const each = [...LEAST, 'gateway.advertise=$(POD_NAME).gw.example:15443'];
  assert.deepEqual(envOf(each).map((one) => [one.name, one.value]).slice(1), [['POD_NAME', undefined], ['ISTHMUS_GATEWAY_ADVERTISE', '$(POD_NAME).gw.example:15443']]);
  assert.deepEqual(gatewayServices(each), ['east-gateway', 'east-gateway-0', 'east-gateway-1']);
  const one = renderChart(each).find((m) => m.kind === 'Service' && m.metadata.name === 'east-gateway-1')?.['spec'] as { readonly selector: Readonly<Record<string, string>>; readonly publishNotReadyAddresses: boolean };
  assert.deepEqual([one.selector['statefulset.kubernetes.io/pod-name'], one.selector['app.kubernetes.io/component'], one.publishNotReadyAddresses], ['east-gateway-1', 'gateway', true]);
});

test('two releases in one cluster share no name, whatever they and their namespaces are called', options, () => {
  const key = (m: Manifest): string => `${m.kind} ${m.kind.startsWith('Cluster') ? '' : (m.metadata.namespace ?? '')} ${m.metadata.name}`;
  const rights = (release: string, namespace: string): readonly Manifest[] => [...renderChart(ALL, { release, namespace }), ...renderChart([...ALL, 'controlPlane.kubernetes.namespaces={shop}', 'nodeAgent.namespaces={shop}'], { release, namespace })].filter((m) => /Role/.test(m.kind));
  const all = [rights('east', 'mesh-a'), rights('east', 'mesh-b'), rights('b-east', 'mesh'), rights('east', 'mesh')].map((manifests) => new Set(manifests.map(key)));
  assert.equal(all.reduce((sum, one) => sum + one.size, 0), all.reduce((union, one) => union.union(one)).size);
  for (const names of all) assert.equal(names.size, 8);
  const long = (end: string): string[] => pods(renderChart(LEAST, { release: `${'a'.repeat(45)}${end}` })).map((m) => m.metadata.name);
  assert.deepEqual(long('x').filter((name) => long('y').includes(name)), []);
  for (const name of long('x')) assert.ok(name.length <= 52, `${name}: with a hash behind it this is a label of its pods`);
});

test('each configuration is taken by the program it is for', options, async () => {
  // The two forms of the control plane's; of the others one form.
  for (const manifests of [renderChart(LEAST).filter((m) => m.metadata.name === 'east-control-plane'), renderChart(ALL), sidecarExample()]) {
    for (const { data } of manifests.filter((m) => m.kind === 'ConfigMap') as unknown as readonly { readonly data: Readonly<Record<string, string>> }[]) {
      for (const [file, text] of Object.entries(data)) {
        const path = join(directory, file);
        writeFileSync(path, text);
        const main = moduleOf(`apps/${file.replace('.yaml', '')}/src/main.ts`);
        const done = await run(process.execPath, [main, '--config', path, '--print-config'], { limitMs: 60_000, env: { ISTHMUS_AGENT_KUBERNETES_NODE_NAME: 'node-1', ISTHMUS_AGENT_ADVERTISE: '10.1.0.9', ISTHMUS_GATEWAY_ADVERTISE: 'east-gateway-0.gw.example:15443' } });
        assert.equal(done.code, 0, `${file}: ${done.stderr}`);
      }
    }
  }
});

for (const [what, value, why] of [
  ['a key that is none', 'gatewy.replicas=2', /gatewy/],
  ['a cluster that is no name', 'cluster=East', /cluster/],
  ['a root that is no fingerprint', 'rootSha256={abc}', /rootSha256/],
  ['no root', 'rootSha256=null', /rootSha256 is needed/],
  ['no gateway at all', 'gateway.replicas=0', /replicas/],
  ['an address without a port', 'gateway.addresses={203.0.113.10}', /addresses/],
  ['an address that all pods would share', 'gateway.advertise=203.0.113.10:15443', /advertise/],
  ['a reserved name of its own', 'gateway.reserved.store=x:1', /reserved/],
  ['no trust root', 'trustRoot.address=', /trustRoot.address is needed/],
  ['a role that is none', 'adminApi.grants[0].who=x,adminApi.grants[0].role=root', /role/],
  ['an operator of the root that may what is nothing', 'trustRoot.operators[0].cluster=east,trustRoot.operators[0].may={all}', /may/],
] as const) {
  test(`a value that makes no sense is refused by its place: ${what}`, options, () => assert.match(refusalOf([...LEAST, value]) ?? 'taken', why));
}
