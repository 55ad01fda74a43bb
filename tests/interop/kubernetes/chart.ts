// The chart rendered by the real helm, as documents.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { documentsOf } from './scenario.ts';
import { kubernetesProgram } from './server.ts';

export const CHART = fileURLToPath(new URL('../../../infra/helm/isthmus', import.meta.url));
export const noHelm: string | false = kubernetesProgram('helm') === undefined ? 'no helm here: sh tests/interop/kubernetes/build.sh DIRECTORY, then ISTHMUS_KUBERNETES=DIRECTORY' : false;

export type Manifest = { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string }; readonly [field: string]: unknown };

/** What a cluster cannot do without. */
export const LEAST = ['cluster=east', 'federation=acme.example', 'trustRoot.address=10.0.0.1:7000', 'gateway.addresses={203.0.113.10:15443}', `rootSha256={${'ab'.repeat(32)}}`];
/** Everything there is. */
export const ALL = [...LEAST.filter((v) => !v.startsWith('trustRoot')), 'trustRoot.enabled=true', 'nodeAgent.enabled=true', 'nodeAgent.services={shop/payments}', 'controlPlane.bootstrapToken.secret=bootstrap', 'controlPlane.store.kind=etcd', 'controlPlane.store.endpoints={https://etcd:2379}', 'controlPlane.store.tlsSecret=etcd-client', 'networkPolicy.metricsFrom.team=monitoring', 'locality=eu/a', 'adminApi.enabled=true', 'adminApi.grants[0].who=spiffe://east.acme.example/operator/alice', 'adminApi.grants[0].role=operator', 'adminApi.forwarders[0].cluster=west', 'adminApi.forwarders[0].roles={viewer}', 'adminApi.issuerCa.configMap=corp-ca', 'trustRoot.operators[0].cluster=east', 'trustRoot.operators[0].may={rotate}'];

const flags = (values: readonly string[]): string[] => ['--kube-version', '1.34.0', ...values.flatMap((value) => ['--set', value])];

/** The documents of the chart with these values. **Throws** with what helm said. */
export function renderChart(values: readonly string[], { release = 'east', namespace = 'isthmus' }: { readonly release?: string; readonly namespace?: string } = {}): readonly Manifest[] {
  return documentsOf(execFileSync(kubernetesProgram('helm') ?? 'helm', ['template', release, CHART, '--namespace', namespace, '--include-crds', ...flags(values)], { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' })) as readonly Manifest[];
}

/** What helm says of these values; undefined when it takes them. */
export function refusalOf(values: readonly string[]): string | undefined {
  const { status, stderr } = spawnSync(kubernetesProgram('helm') ?? 'helm', ['template', 'east', CHART, ...flags(values)], { encoding: 'utf8' });
  return status === 0 ? undefined : stderr;
}

/** The example of an agent beside its workload. */
export function sidecarExample(): readonly Manifest[] {
  return documentsOf(readFileSync(join(CHART, 'examples/sidecar.yaml'), 'utf8')) as readonly Manifest[];
}

export function lintChart(values: readonly string[]): string {
  return execFileSync(kubernetesProgram('helm') ?? 'helm', ['lint', '--strict', CHART, ...flags(values)], { encoding: 'utf8' });
}
