// What a real kube-apiserver v1.34.2 once said, replayed: lists, watches, refusals of its starts, and the end of its history.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openKubernetesSource, openNodeEndpoints } from '@isthmus/discovery/kubernetes';
import { waitFor } from '@isthmus/harness';
import { formatServiceName } from '@isthmus/model';
import { systemClock, systemRandom } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { startReplay } from './kubernetes/recording.ts';

/** Made by tests/interop/kubernetes.test.ts with ISTHMUS_KUBERNETES_RECORD=FILE; Kubernetes and its controllers made every byte of it. */
const RECORDED = fileURLToPath(new URL('kubernetes/recorded/v1.34.2.jsonl', import.meta.url));
const LIMIT_MS = 120_000;
const PAYMENTS = { namespace: 'shop', name: 'payments' };
const parts = { clock: systemClock, random: systemRandom, log: silentLog() };
const directory = mkdtempSync(join(tmpdir(), 'isthmus-recorded-'));
let replay: Awaited<ReturnType<typeof startReplay>>;
let kubeconfig: string;

before(async () => {
  replay = await startReplay(RECORDED);
  kubeconfig = join(directory, 'kubeconfig');
  writeFileSync(kubeconfig, JSON.stringify({ 'current-context': 't', contexts: [{ name: 't', context: { cluster: 't' } }], clusters: [{ name: 't', cluster: { server: replay.url } }] }));
});
after(() => {
  replay.close();
  rmSync(directory, { recursive: true, force: true });
});

test('the recorded story ends as it did: what came, what went while nobody watched, and nothing taken for empty in between', { timeout: 240_000 }, async () => {
  const source = await openKubernetesSource({ kubeconfig, facts: () => ({ imports: [], registeredCount: 0 }), ...parts, metrics: openMetrics() });
  const told: string[] = [];
  let fewest = Number.POSITIVE_INFINITY;
  source.onChange((changed) => {
    told.push(...changed.map((name) => `${formatServiceName(name)} ${source.service(name)?.ports.map((p) => `${p.name}:${p.port}/${p.protocol}`).join() ?? '-'} ${JSON.stringify(source.export(name)?.consumers ?? '-')}`));
    if (source.services().length >= 2) fewest = 2;
    else if (fewest === 2) fewest = source.services().length;
  });
  try {
    await waitFor('the end of the recording', LIMIT_MS, () => replay.left() === 0 && source.status().followed.every((f) => f.current) ? true : undefined);
    assert.deepEqual(source.services().map(formatServiceName).sort(), ['shop/ledger', 'shop/payments']);
    assert.deepEqual(source.exports(), [], 'the export was deleted while the watch was cut');
    for (const line of ['shop/payments http:80/http "-"', 'shop/ledger default:9000/grpc "-"', 'shop/payments http:80/http ["west"]', 'shop/new grpc:90/grpc "-"', 'shop/new - "-"']) assert.ok(told.includes(line), `${line} in ${told.join('; ')}`);
    assert.equal(fewest, 2, 'once there were two services there were never fewer');
    assert.deepEqual(source.endpoints(PAYMENTS).map((e) => `${e.instance} ${e.address} ${e.health} ${e.zone}`), ['payments-1 10.244.1.5 healthy eu-a']);
    assert.ok(replay.asked.some((line) => line.startsWith('PATCH ')), 'it would have written a status');
  } finally {
    await source.close();
  }
});

test('the recorded pod of a node goes from not ready to ready to draining to gone, in the words of the EndpointSlice controller', { timeout: 240_000 }, async () => {
  const again = await startReplay(RECORDED);
  const file = join(directory, 'again');
  writeFileSync(file, JSON.stringify({ 'current-context': 't', contexts: [{ name: 't', context: { cluster: 't' } }], clusters: [{ name: 't', cluster: { server: again.url } }] }));
  const seen: string[] = [];
  const node = await openNodeEndpoints({
    kubeconfig: file,
    nodeName: 'node-2',
    onChange: () => {
      const now = (node.list() ?? []).map((e) => `${e.instance} ${e.health} ${JSON.stringify(e.ports)}`).join() || 'none';
      if (seen.at(-1) !== now) seen.push(now);
    },
    ...parts,
    metrics: openMetrics(),
  });
  try {
    await waitFor('the whole story', LIMIT_MS, () => (seen.length >= 5 ? true : undefined));
    assert.deepEqual(seen, ['none', 'payments-2 unhealthy {"http":8080}', 'payments-2 healthy {"http":8080}', 'payments-2 draining {"http":8080}', 'none']);
  } finally {
    await node.close();
    again.close();
  }
});
