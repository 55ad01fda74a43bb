import assert from 'node:assert/strict';
import test from 'node:test';
import { duplicates, errorsIn, metricsIn } from './catalogue.ts';
import { configurationPage, errorsPage, metricsPage } from './reference.ts';

test('error codes are read out of a catalogue, with quotes and over several lines', () => {
  const text = `
    import { defineErrors } from '@isthmus/model';
    export const fail = defineErrors({
      A_LOST: { class: 'unavailable', doc: 'It\\'s lost.' },
      A_BAD: {
        class: 'invalid',
        doc: "It's bad.",
      },
    });`;
  assert.deepEqual(errorsIn('libs/a/src/errors.ts', text), [
    { code: 'A_LOST', class: 'unavailable', doc: "It's lost.", source: 'libs/a/src/errors.ts' },
    { code: 'A_BAD', class: 'invalid', doc: "It's bad.", source: 'libs/a/src/errors.ts' },
  ]);
  assert.deepEqual(errorsIn('x.ts', `const A = { CODE: { class: 'invalid', doc: 'x' } };`), [], 'not a catalogue');
});

test('metrics are read where they are declared, with their labels', () => {
  const text = `
    const a = metrics.counter('isthmus_a_total', 'All of a', ['service', 'reason']);
    this.#b = options.metrics.gauge('isthmus_b', 'How many b');
    const c = metrics.histogram(
      'isthmus_c_seconds',
      "What c's take",
      [],
      [0.1, 1],
    );`;
  assert.deepEqual(metricsIn('m.ts', text), [
    { name: 'isthmus_a_total', kind: 'counter', help: 'All of a', labels: ['service', 'reason'], source: 'm.ts' },
    { name: 'isthmus_b', kind: 'gauge', help: 'How many b', labels: [], source: 'm.ts' },
    { name: 'isthmus_c_seconds', kind: 'histogram', help: "What c's take", labels: [], source: 'm.ts' },
  ]);
});

test('a name declared in two places is named with both', () => {
  assert.deepEqual(duplicates([{ name: 'x', source: 'a.ts' }, { name: 'y', source: 'a.ts' }, { name: 'x', source: 'b.ts' }]), ['x is declared in a.ts and b.ts']);
});

test('pages list each entry under its package, in order, and keep tables whole', () => {
  const classes = { invalid: { http: 400, grpc: 3, exit: 65, retry: false } };
  const errors = errorsPage(
    [
      { code: 'B_B', class: 'invalid', doc: 'a|b', source: 'libs/b/src/errors.ts' },
      { code: 'A_Z', class: 'invalid', doc: 'z', source: 'libs/a/src/errors.ts' },
      { code: 'A_A', class: 'invalid', doc: 'a', source: 'libs/a/src/errors.ts' },
    ],
    classes,
  );
  assert.match(errors, /\| invalid \| 65 \| 3 \| 400 \| no \|/);
  assert.match(errors, /## libs\/a\n\n.*\n.*\n\| `A_A` \| invalid \| a \|\n\| `A_Z` \| invalid \| z \|\n\n## libs\/b\n\n.*\n.*\n\| `B_B` \| invalid \| a\\\|b \|\n$/);
  const metrics = metricsPage([{ name: 'isthmus_a', kind: 'gauge', help: 'A', labels: ['x', 'y'], source: 'apps/c/src/status.ts' }]);
  assert.match(metrics, /## apps\/c\n\n.*\n.*\n\| `isthmus_a` \| gauge \| `x` `y` \| A \|\n$/);
});

test('the configuration page has every key with type, default and meaning, and how it is said elsewhere', () => {
  const page = configurationPage([
    { program: 'control-plane', schema: { properties: { cluster: { type: 'string', description: 'its name' }, listen: { properties: { port: { type: 'integer', default: 7 } } } }, required: ['cluster'] } },
  ]);
  assert.match(page, /\| `cluster` \| string \| required \| its name \|/);
  assert.match(page, /\| `listen.port` \| integer \| `7` \| {2}\|/);
  assert.match(page, /`--listen.port VALUE`; as a variable: `ISTHMUS_CONTROL_PLANE_LISTEN_PORT`/);
});
