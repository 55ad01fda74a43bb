// The walk of kubernetes.test.ts, run in a network namespace of its own where a pod's address can be one of this machine.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aKubeService, aPod, aServiceExport, aSlice, startScriptedApiServer } from '@isthmus/discovery/testing';
import { clusterOf, names, outboundOf, PAYMENTS, request, smallTopology, startFederation, waitFor } from '@isthmus/harness';

const [, , podAddress = ''] = process.argv;
const LIMIT_MS = 60_000;
const [SERVICES, EXPORTS, SLICES] = ['/api/v1/services', '/apis/multicluster.x-k8s.io/v1alpha1/serviceexports', '/apis/discovery.k8s.io/v1/endpointslices'];

/** A pod that knows nothing of TLS or identities: what reached it, it tells. */
const pod = createServer((incoming, response) => response.end(JSON.stringify({ cluster: 'east', instance: 'p-1', caller: incoming.headers['x-forwarded-client-cert'] })));
pod.listen(8_080, podAddress);
await once(pod, 'listening');

const api = await startScriptedApiServer();
const directory = mkdtempSync(join(tmpdir(), 'isthmus-kubernetes-walk-'));
const kubeconfig = join(directory, 'kubeconfig');
writeFileSync(kubeconfig, JSON.stringify({ 'current-context': 't', contexts: [{ name: 't', context: { cluster: 't' } }], clusters: [{ name: 't', cluster: { server: api.url } }] }));
const topology = smallTopology(['vm-1', 'east-1']);
const east = clusterOf(topology, 'east');
const mesh = await startFederation({
  topology,
  start: false,
  settings: (name) => {
    if (name === names.controlPlane('east')) return { kubernetes: { kubeconfig } };
    return name === 'east-1' ? { workloads: [], kubernetes: { kubeconfig, nodeName: 'node-1' } } : {};
  },
});
const { federation } = mesh;
const step = (text: string): void => void process.stdout.write(`ok ${text}\n`);
const ask = () => request(outboundOf(federation, 'vm-1', PAYMENTS));
const inStatus = async () => (await federation.admin('east').status())['kubernetes'] as { readonly withoutAgent: readonly { readonly name: string }[]; readonly followed: readonly { readonly current: boolean }[] };

try {
  const labels = { 'isthmus/agent': 'node' };
  api.put(SERVICES, aKubeService('payments', { labels }));
  api.put(EXPORTS, aServiceExport('payments'));
  api.put(SLICES, aSlice('payments', [aPod('p-1', podAddress), aPod('p-9', '10.244.9.9', { nodeName: 'node-9' })], { labels }));
  await federation.startTrustRoot();
  await federation.startControlPlane(east);
  await federation.startGateway(east);
  await waitFor('the service, which nobody declared by hand', LIMIT_MS, async () => (await federation.admin('east').list('service')).length === 1 || undefined);
  await waitFor('pods without an agent', LIMIT_MS, async () => (await inStatus()).withoutAgent[0]?.name === 'shop/payments' || undefined);
  step('declared by Kubernetes alone, and known to have no agent');

  for (const agent of east.agents) await federation.startAgent(east, agent);
  const answer = await waitFor('a request through the gateway and the node’s agent', LIMIT_MS, async () => {
    const outcome = await ask();
    return outcome.ok ? outcome : undefined;
  });
  assert.equal(answer.instance, 'p-1');
  assert.match(answer.caller ?? '', /URI=spiffe:\/\/east\.demo\.isthmus\.example\/ns\/shop\/svc\/web/, 'the pod is told who called, as it was proven');
  const workloads = (await federation.admin('east').list('workload')).map((w) => `${w['agent']}/${w['instance']} ${w['health']}`);
  assert.deepEqual(workloads, ['east-1/p-1 healthy'], 'the pod of this node, once, and no other');
  step('a plain pod is reached by mutual TLS from a VM');

  await api.close();
  await waitFor('the loss', LIMIT_MS, async () => (await inStatus()).followed.every((f) => !f.current) || undefined);
  assert.ok((await ask()).ok, 'traffic does not need the API server');
  step('the API server is away, and nothing changes');
} catch (error) {
  for (const name of [names.controlPlane('east'), names.gateway('east'), 'east-1', 'vm-1']) process.stderr.write(`--- ${name}\n${mesh.log(name, 40)}\n`);
  throw error;
} finally {
  await mesh.close();
  pod.close();
  pod.closeAllConnections();
  await api.close();
  rmSync(directory, { recursive: true, force: true });
}
