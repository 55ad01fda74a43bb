// The main job, end to end: the scripted walk of `npm start -- --check` holds, on the embedded store and on real etcd.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProgram, isthmus, reservePorts } from '@isthmus/harness';

const STEPS = [
  'federation-starts',
  'cross-cluster-request',
  'local-preferred',
  'expired-certificate-refused',
  'foreign-certificate-refused',
  'impersonation-refused',
  'unexported-refused',
  'failover-under-load',
  'return-to-local',
  'control-plane-restart',
  'trust-root-restart',
  'change-propagates',
  'certificates-issued',
  'memory',
];
const FIGURES = ['firstCrossClusterAnswerMs', 'failoverLongestGapMs', 'propagation', 'certificatesPerSecond', 'residentMemoryMib'];

type Report = { readonly ok: boolean; readonly store: string; readonly steps: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[]; readonly figures: Readonly<Record<string, unknown>> };

for (const store of ['embedded', 'etcd'] as const) {
  const skip = store === 'etcd' && findProgram('etcd') === undefined ? 'no etcd binary on PATH (apt-get install etcd-server)' : false;
  test(`the main tour holds with the ${store} store`, { skip, timeout: 150_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-walk-'));
    const { from, to } = await reservePorts();
    const file = join(directory, 'report.json');
    const finished = await isthmus(['up', '--check', '--store', store, '--report', file, '--state', join(directory, 'demo'), '--ports', `${from}-${to}`], { limitMs: 140_000 });
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
    assert.deepEqual(report.steps.filter((s) => !s.ok), [], finished.stderr);
    assert.deepEqual(report.steps.map((s) => s.name), STEPS);
    assert.equal(report.ok, true);
    assert.equal(report.store, store);
    assert.deepEqual(FIGURES.filter((name) => report.figures[name] === undefined), []);
    assert.equal(finished.code, 0, finished.stderr);
    for (const step of STEPS) assert.match(finished.stdout, new RegExp(`^ok {3}?${step} \\(\\d+ ms\\): .+`, 'm'));
    rmSync(directory, { recursive: true, force: true });
  });
}
