// The store's own certificates with everything that uses them: our client, a real etcd, and etcdctl, the tool every operator of etcd has.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '@isthmus/runtime';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { type EmbeddedStore, startEmbeddedStore } from './embedded/server.ts';
import { until } from './lossy-link.ts';
import { openStore } from './open-store.ts';
import { noEtcd, noEtcdctl, startEtcd } from './real-etcd.ts';
import { makeStoreTls, type StoreTlsFiles } from './store-tls.ts';

const run = promisify(execFile);

describe('certificates of the store alone', () => {
  let directory: string;
  let files: StoreTlsFiles;
  let server: EmbeddedStore;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'isthmus-store-'));
    files = await makeStoreTls(join(directory, 'tls'), { nowMs: systemClock.nowMs() });
    const [ca, cert, key] = await Promise.all([files.caFile, files.serverCertFile, files.serverKeyFile].map((path) => readFile(path)));
    assert.ok(ca && cert && key);
    server = await startEmbeddedStore({ path: join(directory, 'store.db'), listen: { host: '127.0.0.1', port: 0 }, tls: { ca, cert, key }, log: silentLog(), clock: systemClock });
  });
  after(async () => {
    await server.close();
    await rm(directory, { recursive: true, force: true });
  });

  /** A client, by IP address as it is configured; with the right certificate or another one. */
  const open = async (endpoint: string, clientFiles: StoreTlsFiles, caFile = clientFiles.caFile) => {
    const [ca, cert, key] = await Promise.all([caFile, clientFiles.clientCertFile, clientFiles.clientKeyFile].map((path) => readFile(path)));
    assert.ok(ca && cert && key);
    return openStore({ endpoints: [endpoint], tls: { ca, cert, key }, log: silentLog(), metrics: openMetrics(), clock: systemClock, times: { callTimeoutMs: 1000 } });
  };

  it('are kept in files of mode 0600 and made once', async () => {
    for (const path of Object.values(files)) assert.equal((await stat(path)).mode & 0o777, 0o600);
    const before = await readFile(files.clientCertFile);
    await makeStoreTls(join(directory, 'tls'), { nowMs: systemClock.nowMs() });
    assert.ok((await readFile(files.clientCertFile)).equals(before));
  });

  it('let our client into the embedded store, and a stranger not', async () => {
    const store = await open(`https://127.0.0.1:${server.port}`, files);
    await store.put('tls/a', '1');
    assert.equal((await store.get('tls/a'))?.value.toString(), '1');
    await store.close();
    const strange = await makeStoreTls(join(directory, 'strange'), { nowMs: systemClock.nowMs() });
    const stranger = await open(`https://127.0.0.1:${server.port}`, strange, files.caFile);
    await assert.rejects(stranger.get('tls/a'), { code: 'STORE_UNAVAILABLE' });
    await stranger.close();
  });

  it('serve a real etcd as well', { ...(noEtcd === undefined ? {} : { skip: noEtcd }) }, async () => {
    const cluster = await startEtcd(1, [], files);
    const store = await open(cluster.endpoints[0] ?? '', files);
    await store.put('tls/a', '1');
    assert.equal((await store.get('tls/a'))?.value.toString(), '1');
    await store.close();
    await cluster.close();
  });

  it('let etcdctl do its work', { ...(noEtcdctl === undefined ? {} : { skip: noEtcdctl }) }, async () => {
    const flags = [`--endpoints=https://127.0.0.1:${server.port}`, '--cacert', files.caFile, '--cert', files.clientCertFile, '--key', files.clientKeyFile];
    const env = { ...process.env, ETCDCTL_API: '3' };
    const ctl = async (...args: readonly string[]): Promise<string> => (await run('etcdctl', [...flags, ...args], { env })).stdout.trim();
    const watch = spawn('etcdctl', [...flags, 'watch', '--prefix', 'ctl/'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let seen = '';
    watch.stdout.on('data', (bytes: Buffer) => (seen += bytes.toString()));
    // The watch has no sign of its beginning: write until it sees one.
    await until('etcdctl to watch', async () => (await ctl('put', 'ctl/start', 'x')) === 'OK' && seen.includes('ctl/start'));
    assert.equal(await ctl('put', 'ctl/a', '1'), 'OK');
    assert.equal(await ctl('put', 'ctl/b', '2'), 'OK');
    assert.equal(await ctl('get', '--prefix', 'ctl/', '--keys-only'), 'ctl/a\n\nctl/b\n\nctl/start');
    const id = /lease (\w+) granted/.exec(await ctl('lease', 'grant', '60'))?.[1] ?? '';
    await ctl('put', 'ctl/leased', 'x', `--lease=${id}`);
    assert.match(await ctl('lease', 'keep-alive', '--once', id), /keepalived with TTL\(60\)/);
    assert.match(await ctl('lease', 'timetolive', '--keys', id), /attached keys\(\[ctl\/leased\]\)/);
    await ctl('lease', 'revoke', id);
    assert.equal(await ctl('get', 'ctl/leased'), '');
    const txn = spawn('etcdctl', [...flags, 'txn'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    let answer = '';
    txn.stdout.on('data', (bytes: Buffer) => (answer += bytes.toString()));
    txn.stdin.end('version("ctl/a") = "1"\n\nput ctl/a 3\n\nput ctl/a no\n\n');
    await once(txn, 'close');
    assert.match(answer, /^SUCCESS/);
    assert.equal(await ctl('get', 'ctl/a', '--print-value-only'), '3');
    assert.equal(await ctl('del', 'ctl/b'), '1');
    const { header } = JSON.parse(await ctl('get', 'ctl/a', '-w', 'json')) as { header: { revision: number } };
    assert.match(await ctl('compaction', String(header.revision)), /compacted revision/);
    await assert.rejects(ctl('get', 'ctl/a', '--rev=2'), /required revision has been compacted/);
    assert.match(await ctl('endpoint', 'status'), /true, false/, 'it is its own leader, and no learner');
    await until('the delete to be seen', () => seen.includes('DELETE\nctl/b'));
    const ended = once(watch, 'exit');
    watch.kill('SIGTERM');
    await ended;
  });
});
