// The demo's plan: every part has a port of its own, and paths are short enough for sockets.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatOutcome } from './view.ts';
import { findEtcd } from './etcd.ts';
import { residentMemoryMib, sinceCommandStartMs } from './measure.ts';
import { demoPaths } from './paths.ts';
import { DEMO_TOPOLOGY, planPorts, servicesOf } from './topology.ts';

test('no two parts of the demo share a port, and the default range holds them all', () => {
  const ports = Object.values(planPorts(DEMO_TOPOLOGY, { from: 21_000, to: 21_199 }));
  assert.equal(new Set(ports).size, ports.length);
});

test('what is exported is declared, and vault is not exported', () => {
  for (const cluster of DEMO_TOPOLOGY.clusters) for (const name of cluster.exports) assert.ok(cluster.services.includes(name), `${cluster.name} ${name.name}`);
  assert.equal(DEMO_TOPOLOGY.clusters.some((c) => c.exports.some((e) => e.name === 'vault')), false);
  assert.equal(servicesOf(DEMO_TOPOLOGY).length, 3);
});

test('sockets of a deep state directory move where their names can be bound, the same place each time', () => {
  const deep = `/tmp/${'deep/'.repeat(30)}`;
  assert.ok(Buffer.byteLength(demoPaths(deep).socket('west-control-plane')) < 104);
  assert.equal(demoPaths(deep).socket('a'), demoPaths(deep).socket('a'));
  assert.notEqual(demoPaths(deep).socket('a'), demoPaths(`${deep}x`).socket('a'));
  assert.equal(demoPaths('/tmp/x').socket('a'), '/tmp/x/run/a.sock');
});

test('a missing etcd binary is said with the way to install it', () => {
  assert.throws(() => findEtcd('/nowhere'), { code: 'CLI_ETCD_ABSENT', hint: /apt-get install etcd-server/ });
});

test('memory and start of a living process are measured', { skip: process.platform !== 'linux' && 'reads /proc' }, () => {
  assert.ok((residentMemoryMib(process.pid) ?? 0) > 10);
  assert.equal(residentMemoryMib(2 ** 30), undefined);
  assert.ok(sinceCommandStartMs() > 0);
});

test('a line of the view names cluster and instance, or why there was no answer', () => {
  const at = new Date(2026, 0, 1, 7, 31, 2);
  assert.equal(formatOutcome({ ok: true, cluster: 'east', instance: 'payments-1', caller: undefined, latencyMs: 3.14 }, at), '07:31:02  east    payments-1    3.1 ms');
  assert.match(formatOutcome({ ok: false, why: 'status 503', latencyMs: 1 }, at), /FAILED  status 503/);
});
