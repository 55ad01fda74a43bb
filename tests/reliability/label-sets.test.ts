// Row 83: what strangers send never becomes a label; the metrics of a gateway stay as many as they are.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { askOverTls, names, smallTopology, startFederation, type TestFederation, waitFor } from '@isthmus/harness';
import { metricsOf } from './gateway-process.ts';

let mesh: TestFederation;
before(async () => {
  mesh = await startFederation({ topology: smallTopology(['vm-1', 'east-1', 'west-2']) });
}, { timeout: 60_000 });
after(() => mesh.close());

test('five hundred made-up server names are one count by reason, and none of them is in the metrics', { timeout: 90_000 }, async () => {
  const name = names.gateway('east');
  const port = mesh.federation.port(name);
  const ask = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i++) await askOverTls({ port, serverName: i % 2 === 0 ? `stranger-${i}.example.org` : `http.stranger-${i}.shop.svc.east.demo.isthmus.example` });
  };
  await ask(0, 2);
  const seriesOf = (text: string): number => text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  const before = seriesOf(await metricsOf(mesh.federation, name));
  await Promise.all([ask(2, 250), ask(250, 500)]);
  const refusedIn = (text: string): number => text.split('\n').filter((line) => line.startsWith('isthmus_gateway_refused_total{')).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  // Workers report their counts now and then.
  const text = await waitFor('all of them to be counted', 10_000, async () => {
    const now = await metricsOf(mesh.federation, name);
    return refusedIn(now) >= 500 ? now : undefined;
  });
  assert.doesNotMatch(text, /stranger/);
  assert.ok(seriesOf(text) <= before + 100, `${before} series before, ${seriesOf(text)} after`);
});
