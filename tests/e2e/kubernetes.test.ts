// A Kubernetes cluster joins: its Services are declared, a node's agent speaks for a plain pod, a VM calls it through the gateway.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '@isthmus/harness';

/** Agents dial no loopback address, so the pod needs another: one of a network namespace that nothing leads out of. */
const POD = '10.244.1.5';
const WALK = fileURLToPath(new URL('kubernetes-walk.ts', import.meta.url));
const skip = spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).status === 0 ? false : 'no network namespace can be made here';

test('a plain pod behind a Service and a ServiceExport is reached by mutual TLS, also while the API server is away', { skip, timeout: 230_000 }, async () => {
  const done = await run('unshare', ['--net', 'sh', '-c', `ip link set lo up && ip addr add ${POD}/32 dev lo && exec "$0" "$1" ${POD}`, process.execPath, WALK], { limitMs: 220_000 });
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(done.stdout.split('\n').filter((line) => line.startsWith('ok ')), ['ok declared by Kubernetes alone, and known to have no agent', 'ok a plain pod is reached by mutual TLS from a VM', 'ok the API server is away, and nothing changes']);
});
