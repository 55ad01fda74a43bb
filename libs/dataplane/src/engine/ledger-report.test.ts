import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resourceName, type Snapshot } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { openMetrics } from '@isthmus/telemetry';
import { Ledger } from './ledger.ts';
import { LedgerReport } from './ledger-report.ts';

function snapshotOf(version: number, ...ids: string[]): Snapshot {
  const view = aServiceView({ endpoints: ids.map((id) => anEndpoint({ id })) });
  return { version, resources: new Map([[resourceName(view), view]]) };
}

function setting() {
  const metrics = openMetrics();
  const report = new LedgerReport(metrics, ['store']);
  const ledger = new Ledger();
  const tell = (thread = 0): void => {
    const delta = ledger.drain();
    if (delta !== undefined) report.add(thread, delta);
  };
  return { metrics, report, ledger, tell };
}

test('bytes of an open connection are in the metrics after the next drain, and its endpoint shows one connection', async () => {
  const { metrics, ledger, tell } = setting();
  const account = ledger.opened('shop/payments', 'a');
  account.bytesIn += 5;
  tell();
  account.bytesIn += 2;
  account.bytesOut += 9;
  tell();
  const text = await metrics.text();
  assert.match(text, /isthmus_gateway_bytes_total\{service="shop\/payments",endpoint="a",direction="in"\} 7\n/);
  assert.match(text, /isthmus_gateway_bytes_total\{service="shop\/payments",endpoint="a",direction="out"\} 9\n/);
  assert.match(text, /isthmus_gateway_endpoint_connections\{service="shop\/payments",endpoint="a"\} 1\n/);
});

test('connections that lead to a reserved name are not the services’', () => {
  const { report, ledger, tell } = setting();
  const own = ledger.opened('store', 'store');
  const last = ledger.opened('shop/payments', 'a');
  tell();
  report.setOpen(3); // one still says hello
  assert.equal(report.serviceConnections, 2);
  ledger.closed(last, 'complete', 5);
  tell();
  report.setOpen(1);
  assert.equal(report.serviceConnections, 0);
  ledger.closed(own, 'complete', 5);
  tell();
  report.setOpen(0);
  assert.equal(report.serviceConnections, 0);
});

test('ends, refusals, failures and durations are counted by their labels', async () => {
  const { metrics, ledger, tell } = setting();
  ledger.closed(ledger.opened('shop/payments', 'a'), 'complete', 500);
  ledger.closed(ledger.opened('shop/payments', 'a'), 'reset', 1_500);
  ledger.connectFailed(ledger.opened('shop/payments', 'b'));
  ledger.refused('no-sni');
  tell();
  const text = await metrics.text();
  assert.match(text, /isthmus_gateway_connections_total\{service="shop\/payments",end="complete"\} 1\n/);
  assert.match(text, /isthmus_gateway_connections_total\{service="shop\/payments",end="reset"\} 1\n/);
  assert.match(text, /isthmus_gateway_connect_failures_total\{service="shop\/payments"\} 1\n/);
  assert.match(text, /isthmus_gateway_refused_total\{reason="no-sni"\} 1\n/);
  assert.match(text, /isthmus_gateway_connection_seconds_bucket\{le="1",service="shop\/payments"\} 1\n/);
  assert.match(text, /isthmus_gateway_connection_seconds_bucket\{le="10",service="shop\/payments"\} 2\n/);
  assert.match(text, /isthmus_gateway_connection_seconds_sum\{service="shop\/payments"\} 2\n/);
});

test('series of an endpoint go when it has left the snapshot and its last connection is over, not before', async () => {
  const { metrics, report, ledger, tell } = setting();
  const account = ledger.opened('shop/payments', 'a');
  account.bytesIn += 5;
  ledger.opened('shop/payments', 'b').bytesIn += 5;
  tell();
  report.sweep(snapshotOf(1, 'a', 'b'));
  report.sweep(snapshotOf(2, 'b'));
  assert.match(await metrics.text(), /endpoint="a"/, 'a connection is still open');
  ledger.closed(account, 'drained', 1);
  tell();
  report.sweep(snapshotOf(2, 'b'));
  const text = await metrics.text();
  assert.doesNotMatch(text, /endpoint="a"/);
  assert.match(text, /bytes_total\{service="shop\/payments",endpoint="b",direction="in"\} 5/);
});

test('an endpoint that was gone before its first delta came is forgotten too; a reserved name never is', async () => {
  const { metrics, report, ledger, tell } = setting();
  report.sweep(snapshotOf(1, 'b'));
  for (const [service, endpoint] of [['shop/payments', 'a'], ['store', 'store']] as const) {
    const account = ledger.opened(service, endpoint);
    account.bytesIn += 1;
    ledger.closed(account, 'complete', 1);
  }
  tell();
  report.sweep(snapshotOf(1, 'b'));
  const text = await metrics.text();
  assert.doesNotMatch(text, /endpoint="a"/);
  assert.match(text, /endpoint="store"/);
});

test('connections of a thread that died are open no more, those of another still are', async () => {
  const { metrics, report, ledger, tell } = setting();
  ledger.opened('shop/payments', 'a');
  tell(1);
  ledger.opened('shop/payments', 'a');
  tell(2);
  report.threadEnded(1);
  assert.match(await metrics.text(), /endpoint_connections\{service="shop\/payments",endpoint="a"\} 1\n/);
});
