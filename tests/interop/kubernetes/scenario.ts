// One story for a Kubernetes API server: Services, pods and ServiceExports that come, change and go.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@isthmus/harness';
import { parseYaml } from '@isthmus/runtime';
import type { KubernetesServer } from './server.ts';

export const CRD_FILE = fileURLToPath(new URL('../../../infra/helm/isthmus/crds/serviceexports.yaml', import.meta.url));
const MCS = '/apis/multicluster.x-k8s.io/v1alpha1';

/** The documents of a YAML file or text. */
export function documentsOf(text: string): readonly object[] {
  const yaml = parseYaml(text, 'manifests');
  if (!yaml.ok) throw new Error(JSON.stringify(yaml.problems));
  return yaml.value.map((document) => document.value).filter((value): value is object => typeof value === 'object' && value !== null);
}

/** Installs the CRD, makes the namespaces, and gives the user `isthmus` what the chart gives the control plane. */
export async function prepare(server: KubernetesServer): Promise<void> {
  for (const crd of documentsOf(readFileSync(CRD_FILE, 'utf8'))) await server.ask('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
  await waitFor('the custom resource', 60_000, () => server.ask('GET', `${MCS}/serviceexports`).then(() => true, () => undefined));
  await server.ask('POST', '/api/v1/namespaces', { metadata: { name: 'shop' } });
  const rules = [
    { apiGroups: [''], resources: ['services'], verbs: ['list', 'watch'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
    { apiGroups: ['multicluster.x-k8s.io'], resources: ['serviceexports'], verbs: ['list', 'watch'] },
    { apiGroups: ['multicluster.x-k8s.io'], resources: ['serviceexports/status'], verbs: ['patch'] },
  ];
  await server.ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterroles', { metadata: { name: 'isthmus' }, rules });
  await server.ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'isthmus' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'isthmus' },
    subjects: [{ kind: 'User', name: 'isthmus', apiGroup: 'rbac.authorization.k8s.io' }],
  });
}

export const createService = (server: KubernetesServer, name: string, spec: object, labels: object = {}): Promise<unknown> => server.ask('POST', '/api/v1/namespaces/shop/services', { metadata: { name, labels }, spec });
export const deleteService = (server: KubernetesServer, name: string): Promise<unknown> => server.ask('DELETE', `/api/v1/namespaces/shop/services/${name}`);
export const createExport = (server: KubernetesServer, name: string, annotations: object = {}): Promise<unknown> => server.ask('POST', `${MCS}/namespaces/shop/serviceexports`, { apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport', metadata: { name, annotations } });
export const deleteExport = (server: KubernetesServer, name: string): Promise<unknown> => server.ask('DELETE', `${MCS}/namespaces/shop/serviceexports/${name}`);

type ExportObject = { readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string; readonly lastTransitionTime: string }[] } };
/** Conditions of an export as `<status> <reason>`, by type, as the server has them. */
export async function conditionsOf(server: KubernetesServer, name: string): Promise<Readonly<Record<string, string>>> {
  const found = (await server.ask('GET', `${MCS}/namespaces/shop/serviceexports/${name}`)) as ExportObject;
  return Object.fromEntries((found.status?.conditions ?? []).map((c) => [c.type, `${c.status} ${c.reason}`]));
}

/** A pod on a node, running, with an address: written as a kubelet would, since there is none. */
export async function runPod(server: KubernetesServer, name: string, options: { readonly address: string; readonly node: string; readonly labels: object; readonly ready?: boolean }): Promise<void> {
  const { address, node, labels, ready = true } = options;
  await server.ask('POST', '/api/v1/namespaces/shop/pods', { metadata: { name, labels }, spec: { nodeName: node, containers: [{ name: 'app', image: 'app', ports: [{ containerPort: 8_080 }] }], automountServiceAccountToken: false } });
  await tellPod(server, name, address, ready);
}

export function tellPod(server: KubernetesServer, name: string, address: string, ready: boolean): Promise<unknown> {
  const status = ready ? 'True' : 'False';
  return server.ask('PATCH', `/api/v1/namespaces/shop/pods/${name}/status`, { status: { phase: 'Running', podIP: address, podIPs: [{ ip: address }], conditions: [{ type: 'Ready', status }, { type: 'ContainersReady', status }, { type: 'Initialized', status: 'True' }, { type: 'PodScheduled', status: 'True' }] } }, 'application/merge-patch+json');
}

export const makeNode = (server: KubernetesServer, name: string, zone: string): Promise<unknown> => server.ask('POST', '/api/v1/nodes', { metadata: { name, labels: { 'topology.kubernetes.io/zone': zone } } });
/** With a grace period the pod ends slowly, and no kubelet is there to finish it. */
export const endPod = (server: KubernetesServer, name: string, graceSeconds: number): Promise<unknown> => server.ask('DELETE', `/api/v1/namespaces/shop/pods/${name}?gracePeriodSeconds=${graceSeconds}`);
