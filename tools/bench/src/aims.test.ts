import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AIMS, aimText, meets } from './aims.ts';
import { WORKLOADS } from './workloads/all.ts';

test('every aim is for a figure that is measured', () => {
  const measured = new Set(WORKLOADS.flatMap(({ name, metrics }) => metrics.map((metric) => `${name}/${metric.name}`)));
  for (const name of Object.keys(AIMS)) assert.ok(measured.has(name), name);
});

test('aims are for figures that are better when lower, as their judgement assumes', () => {
  for (const { name, metrics } of WORKLOADS) for (const metric of metrics) if (AIMS[`${name}/${metric.name}`] !== undefined) assert.equal(metric.better, 'lower', `${name}/${metric.name}`);
});

test('a ratio must hold for all the peers it names', () => {
  const each = { kind: 'ratio', peers: ['nginx', 'haproxy'], of: 'each', atMost: 1 } as const;
  assert.equal(meets(each, 80, { nginx: 0.9, haproxy: 1 }), true);
  assert.equal(meets(each, 85, { nginx: 0.9, haproxy: 1.01 }), false);
  const best = { ...each, of: 'best', atMost: 0.5 } as const;
  assert.equal(meets(best, 40, { nginx: 0.4, haproxy: 0.5 }), true);
  assert.equal(meets(best, 41, { nginx: 0.4, haproxy: 0.51 }), false);
  assert.equal(aimText(each), '≤ 1 × nginx, ≤ 1 × haproxy');
  assert.equal(aimText(best), '≤ 0.5 × the better of nginx and haproxy');
});

test('an aim is not judged without a figure it needs', () => {
  const aim = { kind: 'ratio', peers: ['nginx', 'haproxy'], of: 'best', atMost: 1 } as const;
  assert.equal(meets(aim, 1, { nginx: 0.5 }), undefined);
  assert.equal(meets({ kind: 'limit', atMost: 8 }, Number.NaN, {}), undefined);
  assert.equal(meets({ kind: 'limit', atMost: 8 }, 8, {}), true);
  assert.equal(meets({ kind: 'limit', atMost: 8 }, 8.1, {}), false);
});
