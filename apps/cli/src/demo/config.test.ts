// The demo's configuration files read back as what they were made from.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseYaml } from '@isthmus/runtime';
import { toYaml } from './config.ts';

test('a configuration written as YAML reads back the same', () => {
  const config = {
    listen: { host: '127.0.0.1', port: 7_000 },
    gateways: ['127.0.0.1:1', 'a.example:2'],
    workloads: [{ instance: 'a', ports: { http: 80 }, healthCheck: { kind: 'http', path: '/healthz' } }, { instance: 'b', ports: { 'grpc-2': 81 } }],
    odd: { 'a b': 'yes', text: 'no: "x" # y\nz' },
    none: [],
  };
  const read = parseYaml(toYaml('x', config), 'x.yaml');
  assert.deepEqual(read.ok ? read.value.map((d) => d.value) : read.problems, [config]);
});
