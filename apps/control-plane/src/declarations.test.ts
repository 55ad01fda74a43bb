import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Export, formatServiceName, type Service, type ServiceName } from '@isthmus/model';
import { withKubernetes } from './declarations.ts';
import type { Resources } from './resources.ts';

const aService = (name: string, port: number): Service => ({ kind: 'service', namespace: 'shop', name, ports: [{ name: 'http', port, protocol: 'http' }] });
const anExport = (name: string, consumers: Export['consumers']): Export => ({ kind: 'export', namespace: 'shop', name, consumers });
type Part = { services: Service[]; exports: Export[]; listeners: Set<(changed: readonly ServiceName[]) => void>; isClosed: boolean };

function declared(part: Part) {
  const called = (one: ServiceName, other: ServiceName): boolean => formatServiceName(one) === formatServiceName(other);
  return {
    services: () => part.services,
    exports: () => part.exports,
    service: (name: ServiceName) => part.services.find((s) => called(s, name)),
    export: (name: ServiceName) => part.exports.find((e) => called(e, name)),
    onChange: (fn: (changed: readonly ServiceName[]) => void) => {
      part.listeners.add(fn);
      return () => part.listeners.delete(fn);
    },
    close: async () => {
      part.isClosed = true;
    },
  };
}
const part = (services: Service[], exports: Export[]): Part => ({ services, exports, listeners: new Set(), isClosed: false });

test('what an operator declared goes before what Kubernetes has under the same name; the rest comes together', () => {
  const operators = part([aService('payments', 80)], []);
  const kubernetes = part([aService('payments', 8_080), aService('ledger', 9_000)], [anExport('payments', 'all'), anExport('ledger', ['west'])]);
  const both = withKubernetes(declared(operators) as unknown as Resources, declared(kubernetes));
  assert.deepEqual(both.services().map((s) => [s.name, s.ports[0]?.port]), [['payments', 80], ['ledger', 9_000]]);
  assert.equal(both.service({ namespace: 'shop', name: 'payments' })?.ports[0]?.port, 80);
  assert.equal(both.service({ namespace: 'shop', name: 'ledger' })?.ports[0]?.port, 9_000);
  assert.equal(both.export({ namespace: 'shop', name: 'payments' })?.consumers, 'all', 'each kind by itself');
  operators.exports.push(anExport('payments', ['north']));
  assert.deepEqual(both.exports().map((e) => e.consumers), [['north'], ['west']]);
});

test('changes of both are told, and both are closed', async () => {
  const [operators, kubernetes] = [part([], []), part([], [])];
  const both = withKubernetes(declared(operators) as unknown as Resources, declared(kubernetes));
  const told: string[] = [];
  const stop = both.onChange((changed) => told.push(...changed.map(formatServiceName)));
  for (const { listeners } of [operators, kubernetes]) for (const fn of listeners) fn([{ namespace: 'shop', name: 'x' }]);
  assert.deepEqual(told, ['shop/x', 'shop/x']);
  stop();
  assert.equal(operators.listeners.size + kubernetes.listeners.size, 0);
  await both.close();
  assert.ok(operators.isClosed && kubernetes.isClosed);
});
