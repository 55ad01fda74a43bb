// What every way to run gateways and agents has to say alike, read as text: units, chart, its example and the demo.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test('gateways and agents get the same young generation however they are started', () => {
  const ways = ['infra/systemd/isthmus-gateway.service', 'infra/systemd/isthmus-agent.service', 'infra/helm/isthmus/templates/_names.tpl', 'infra/helm/isthmus/examples/sidecar.yaml', 'apps/cli/src/demo/federation.ts'];
  const said = ways.map((path) => [path, [...new Set(read(path).match(/--max-semi-space-size=\d+/g))]] as const);
  for (const [path, flags] of said) assert.deepEqual(flags, said[0]?.[1], path);
  assert.equal(said[0]?.[1].length, 1);
  for (const template of ['gateway', 'node-agent']) assert.ok(read(`infra/helm/isthmus/templates/${template}.yaml`).includes('include "isthmus.smallMainThread"'), template);
});
