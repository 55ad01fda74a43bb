// `npm start -- --check --tour terraform`: from nothing to a request across clusters and back to nothing, with the real terraform.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProgram, isthmus, reservePorts } from '@isthmus/harness';

const STEPS = ['provider-installed', 'nonsense-refused', 'federation-applied', 'request-crosses-clusters', 'change-applied', 'drift-mended', 'service-imported', 'federation-destroyed'];
/** East's is a real one where there is one. */
const store = findProgram('etcd') === undefined ? 'embedded' : 'etcd';
const skip = findProgram('terraform') === undefined && 'terraform is not installed';

type Report = { readonly ok: boolean; readonly skipped?: string; readonly steps: readonly { readonly name: string; readonly ok: boolean; readonly detail: string }[] };

test('the terraform tour holds: modules and provider make two clusters and a VM, change, mend, take over and destroy them', { skip, timeout: 235_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-terraform-tour-'));
  const file = join(directory, 'report.json');
  const { from, to } = await reservePorts();
  const { code, stderr, stdout } = await isthmus(['up', '--check', '--tour', 'terraform', '--store', store, '--report', file, '--ports', `${from}-${to}`], { limitMs: 230_000 });
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  assert.deepEqual(report.steps.filter((s) => !s.ok), [], stderr);
  assert.deepEqual(report.steps.map((s) => s.name), STEPS);
  assert.equal(report.ok, true);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^all steps hold: 8 of 8/m);
  rmSync(directory, { recursive: true, force: true });
});

test('without terraform the tour is skipped, and says why', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-terraform-tour-'));
  const file = join(directory, 'report.json');
  const { code, stdout } = await isthmus(['up', '--check', '--tour', 'terraform', '--report', file], { env: { PATH: directory } });
  assert.equal(code, 69, stdout);
  assert.match(stdout, /^skipped the tour terraform: there is no terraform on PATH/m);
  const { ok, skipped } = JSON.parse(readFileSync(file, 'utf8')) as Report;
  assert.equal(ok, false);
  assert.match(skipped ?? '', /terraform/);
  rmSync(directory, { recursive: true, force: true });
});
