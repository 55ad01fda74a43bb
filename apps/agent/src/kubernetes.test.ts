import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ServiceEndpoint } from '@isthmus/discovery/kubernetes';
import { aPod, aSlice, startScriptedApiServer, until } from '@isthmus/discovery/testing';
import type { Health } from '@isthmus/model';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import type { Config } from './config.ts';
import { speakForNode, stepsTo } from './kubernetes.ts';
import type { Workloads } from './workloads.ts';

const PAYMENTS = { namespace: 'shop', name: 'payments' };
const endpoint = (instance: string, over: Partial<ServiceEndpoint> = {}): ServiceEndpoint => ({ service: PAYMENTS, instance, address: '10.1.0.5', health: 'healthy', nodeName: 'n', zone: 'a', ports: { http: 8_080 }, ...over });
const running = (...endpoints: readonly ServiceEndpoint[]) => new Map(endpoints.map((e) => [`shop/payments/${e.instance}`, e]));
const said = (before: ReadonlyMap<string, ServiceEndpoint>, wanted: readonly ServiceEndpoint[]) => stepsTo(before, wanted).map((step) => `${step.kind} ${step.endpoint.instance}`);

test('what is new is added, what went is withdrawn first, what changed its health is told, the rest is left alone', () => {
  const before = running(endpoint('gone'), endpoint('same'), endpoint('ending'));
  assert.deepEqual(said(before, [endpoint('new'), endpoint('same'), endpoint('ending', { health: 'draining' })]), ['withdraw gone', 'add new', 'tell ending']);
});

test('a pod of the same name at another address, such as one of a StatefulSet that started anew, is another workload', () => {
  assert.deepEqual(said(running(endpoint('db-0')), [endpoint('db-0', { address: '10.1.0.9' })]), ['withdraw db-0', 'add db-0']);
  assert.deepEqual(said(running(endpoint('db-0')), [endpoint('db-0', { ports: { http: 8_081 } })]), ['withdraw db-0', 'add db-0']);
});

test('no agent speaks for more than a thousand', () => {
  assert.equal(stepsTo(new Map(), Array.from({ length: 1_500 }, (_, i) => endpoint(`p-${i}`))).length, 1_000);
});

test('the pods of the node come and go as workloads; one that has no listener yet is tried again', async () => {
  const server = await startScriptedApiServer();
  const dir = await mkdtemp(join(tmpdir(), 'agent-kubernetes-'));
  const kubeconfig = join(dir, 'kubeconfig');
  await writeFile(kubeconfig, `current-context: t\ncontexts: [{ name: t, context: { cluster: t } }]\nclusters: [{ name: t, cluster: { server: "${server.url}" } }]\n`);
  const path = '/apis/discovery.k8s.io/v1/endpointslices';
  const labels = { 'isthmus/agent': 'node' };
  const present = new Map<string, { readonly host: string | undefined; health: Health; readonly locality: string | undefined }>();
  let refusals = 2;
  const workloads: Pick<Workloads, 'add' | 'tell' | 'withdraw'> = {
    async add({ workload, locality }, health) {
      if (refusals-- > 0) throw new Error('no port');
      present.set(workload.instance, { host: workload.host, health, locality });
    },
    tell(_service, instance, health) {
      const found = present.get(instance);
      if (found !== undefined) found.health = health;
    },
    async withdraw(_service, instance) {
      present.delete(instance);
    },
  };
  server.put(path, aSlice('payments', [aPod('p-1', '10.1.0.5')], { labels }));
  const config = { locality: 'eu', stateDir: dir, server: { address: 'x:1' }, network: 'n' } satisfies Config;
  const node = await speakForNode(config, { nodeName: 'node-1', kubeconfig }, workloads as Workloads, { clock: systemClock, random: systemRandom, log: silentLog(), metrics: openMetrics() });
  await until(() => present.has('p-1'), 'the pod, after two tries in vain');
  assert.deepEqual(present.get('p-1'), { host: '10.1.0.5', health: 'healthy', locality: 'eu/eu-a' });
  server.put(path, aSlice('payments', [aPod('p-1', '10.1.0.5', { conditions: { ready: false, serving: true, terminating: true } }), aPod('p-2', '10.1.0.6')], { labels }));
  await until(() => present.get('p-1')?.health === 'draining' && present.has('p-2'), 'the next state');
  server.put(path, aSlice('payments', [aPod('p-2', '10.1.0.6')], { labels }));
  await until(() => !present.has('p-1'), 'the pod that went');
  server.cut();
  assert.deepEqual([...present.keys()], ['p-2']);
  await node.close();
  await server.close();
  await rm(dir, { recursive: true });
});
