// The demo's requests: what counts as an answer, what as a failure, and how a load is summed up.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { percentile, request, startLoad } from './traffic.ts';

let server: Server;
let reply: { status: number; body: string } | 'reset' = { status: 200, body: '' };
const good = { status: 200, body: JSON.stringify({ cluster: 'east', instance: 'payments-1', caller: 'URI=spiffe://a/b' }) };
let to = { host: '127.0.0.1', port: 0 };

before(async () => {
  server = createServer((incoming, response) => {
    if (reply === 'reset') {
      incoming.socket.resetAndDestroy();
    } else {
      response.statusCode = reply.status;
      response.end(reply.body);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  to = { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
});
after(() => server.close());

test('an answer names cluster, instance and caller', async () => {
  reply = good;
  const outcome = await request(to);
  assert.equal(outcome.ok, true);
  assert.deepEqual(outcome.ok && [outcome.cluster, outcome.instance, outcome.caller], ['east', 'payments-1', 'URI=spiffe://a/b']);
});

test('any other status, a strange body and a reset are failures with their reason, not exceptions', async () => {
  for (const [bad, why] of [[{ status: 503, body: 'no endpoint' }, /status 503: no endpoint/], [{ status: 200, body: '<html>' }, /not the sample/], ['reset', /hang up|ECONNRESET/]] as const) {
    reply = bad;
    const outcome = await request(to);
    assert.equal(outcome.ok, false);
    assert.match(outcome.ok ? '' : outcome.why, why);
  }
});

test('a load counts answers by cluster and failures with reasons, from the last mark on', async () => {
  reply = { status: 503, body: 'down' };
  const load = startLoad(to, { clients: 2, pauseMs: 1 });
  await seen(load, (outcome) => !outcome.ok);
  reply = good;
  await seen(load, (outcome) => outcome.ok);
  assert.match(load.facts().failures[0] ?? '', /status 503/);
  load.mark();
  await seen(load, (outcome) => outcome.ok);
  await load.stop();
  const facts = load.facts();
  assert.deepEqual(facts.failures, []);
  assert.equal(facts.byCluster['east'], facts.requests);
});

test('percentiles are of the nearest rank', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.deepEqual([percentile(values, 50), percentile(values, 99), percentile(values, 100), percentile([], 50)], [50, 99, 100, 0]);
});

function seen(load: ReturnType<typeof startLoad>, wanted: (outcome: Parameters<Parameters<typeof load.onOutcome>[0]>[0]) => boolean): Promise<void> {
  return new Promise((resolve) => {
    const stop = load.onOutcome((outcome) => {
      if (!wanted(outcome)) return;
      stop();
      resolve();
    });
  });
}
