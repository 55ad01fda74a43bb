// ISTHMUS_TORTURE_CONNECTIONS=200000 is the long form; ISTHMUS_TORTURE_SEED repeats a run that went wrong.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { startEastWest } from '../../proxy/east-west.ts';
import { availableEngines, TestSnapshots } from '../testing.ts';
import { endpointAt, TRUST_DOMAIN, until, viewsOf } from './rig.ts';
import { Torture } from './torture.ts';

const CONNECTIONS = Number(process.env.ISTHMUS_TORTURE_CONNECTIONS ?? 3_000);
const SEED = Number(process.env.ISTHMUS_TORTURE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const AT_ONCE = 64;
const WARM_UP = 100;

/** Open descriptors of this process; undefined where the system does not show them. */
function descriptors(): number | undefined {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : undefined;
}

for (const engine of await availableEngines()) {
  test(`${engine}: ${CONNECTIONS} connections opened and killed in random states leave every stream right and no descriptor behind`, { timeout: 3_600_000 }, async (t) => {
    const torture = new Torture(SEED);
    const port = await torture.listen();
    const metrics = openMetrics();
    const endpoints = ['127.0.0.2', '127.0.0.3', '127.0.0.4'].map((host) => endpointAt(port, { id: host, host }));
    const listen = { host: '127.0.0.1', port: 0 };
    const beforeStart = descriptors();
    const relay = await startEastWest({ listen, snapshots: new TestSnapshots(...viewsOf(endpoints)), trustDomain: TRUST_DOMAIN, reserved: {}, engine, workers: 2, log: silentLog(), metrics });
    await torture.run(relay.port, WARM_UP, AT_ONCE);
    await until('quiet', () => relay.connections === 0);
    const before = { descriptors: descriptors(), rssBytes: process.memoryUsage.rss() };
    const startedMs = performance.now();
    await torture.run(relay.port, CONNECTIONS, AT_ONCE);
    const lastedMs = performance.now() - startedMs;
    assert.deepEqual(torture.complaints, [], `seed ${SEED}`);
    await until('quiet', () => relay.connections === 0);
    const after = { descriptors: descriptors(), rssBytes: process.memoryUsage.rss() };
    await relay.close();
    t.diagnostic(JSON.stringify({ engine, seed: SEED, lastedMs: Math.round(lastedMs), ...torture.facts, before, after, afterClose: descriptors() }));
    await until('every descriptor closed', () => descriptors() === beforeStart);
    assert.match(await metrics.text(), /^isthmus_gateway_open_connections 0$/m);
    assert.doesNotMatch(await metrics.text(), /^isthmus_gateway_endpoint_connections\{.*\} -?[1-9]/m);
    await torture.close();
  });
}
