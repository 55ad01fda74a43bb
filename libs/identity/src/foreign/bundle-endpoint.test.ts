import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import type { TrustDomain } from '@isthmus/model';
import { exportKeyPem, fixedSvidSource, generateKey, makeBundleDocument, openBundleSet, parseBundleDocument } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { systemClock } from '@isthmus/runtime';
import { fakeClock } from '@isthmus/runtime/testing';
import { openMetrics, silentLog } from '@isthmus/telemetry';
import { testDir } from '../testing.ts';
import { type BundleEndpointOptions, serveBundleEndpoint } from './bundle-endpoint.ts';
import { fetchBundle } from './fetch-bundle.ts';

const closers: (() => Promise<unknown> | void)[] = [];
after(async () => {
  for (const close of closers.toReversed()) await close();
});

const east = testAuthority();
const OWN = 'spiffe://east.acme.example/control-plane';

async function serve(over: Partial<BundleEndpointOptions> = {}) {
  const bundles = openBundleSet([east.bundle]);
  const endpoint = await serveBundleEndpoint({
    listen: { host: '127.0.0.1', port: 0 },
    proof: { profile: 'https_spiffe', svids: fixedSvidSource(east.issue(OWN)) },
    trustDomain: east.trustDomain,
    bundles,
    clock: systemClock,
    log: silentLog(),
    metrics: openMetrics(),
    ...over,
  });
  closers.push(() => endpoint.close());
  return { endpoint, bundles };
}

type Got = { readonly status: number; readonly headers: Readonly<Record<string, unknown>>; readonly body: string };

function ask(port: number, { method = 'GET', path = '/', headers = {} }: { readonly method?: string; readonly path?: string; readonly headers?: Record<string, string> } = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, method, path, headers, agent: false, rejectUnauthorized: false, timeout: 30_000 }, (res) => {
      let body = '';
      res.on('data', (part) => (body += String(part)));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body }));
    });
    req.on('error', reject).end();
  });
}

describe('the bundle endpoint', { timeout: 120_000 }, () => {
  test('gives the bundle to a caller without a certificate, as JSON, with what caches need', async () => {
    const { endpoint } = await serve();
    const got = await ask(endpoint.port);
    assert.equal(got.status, 200);
    assert.equal(got.body, makeBundleDocument(east.bundle));
    assert.equal(got.headers['content-type'], 'application/json');
    assert.equal(got.headers['cache-control'], 'public, max-age=60');
    assert.equal((await ask(endpoint.port, { headers: { 'if-none-match': String(got.headers['etag']) } })).status, 304);
  });

  test('gives the next bundle as soon as it is in force, under another ETag', async () => {
    const { endpoint, bundles } = await serve();
    const first = await ask(endpoint.port);
    bundles.update({ ...east.bundle, sequence: 9 });
    const next = await ask(endpoint.port, { headers: { 'if-none-match': String(first.headers['etag']) } });
    assert.equal(next.status, 200);
    const parsed = parseBundleDocument(Buffer.from(next.body), east.trustDomain);
    assert.ok(parsed.ok && parsed.value.sequence === 9);
    bundles.remove(east.trustDomain);
    assert.equal((await ask(endpoint.port)).status, 503);
  });

  test('takes GET of one path alone', async () => {
    const { endpoint } = await serve();
    for (const method of ['POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE']) assert.equal((await ask(endpoint.port, { method })).status, 405, method);
    assert.equal((await ask(endpoint.port, { path: '/metrics' })).status, 404);
  });

  test('proves itself by an SVID of its trust domain, chain and all, and follows its renewal', async () => {
    let svid = east.issue(OWN);
    const listeners = new Set<(s: typeof svid) => void>();
    const { endpoint } = await serve({ proof: { profile: 'https_spiffe', svids: { current: () => svid, onChange: (fn) => (listeners.add(fn), () => listeners.delete(fn)) } } });
    const presented = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket: TLSSocket = connect({ host: '127.0.0.1', port: endpoint.port, rejectUnauthorized: false }, () => {
          resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? '');
          socket.destroy();
        }).on('error', reject);
      });
    const first = await presented();
    svid = east.issue(OWN);
    for (const fn of listeners) fn(svid);
    assert.notEqual(await presented(), first);
    assert.equal(await presented(), new X509Certificate(svid.chain[0] ?? '').fingerprint256);
  });

  test('cuts callers that never finish, and serves others meanwhile', async () => {
    const clock = fakeClock();
    const { endpoint } = await serve({ clock });
    const slow = await Promise.all(
      Array.from({ length: 20 }, () => new Promise<{ readonly closed: Promise<void> }>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port: endpoint.port, rejectUnauthorized: false }, () => socket.write('GET / HT', () => resolve({ closed }))).on('error', reject);
        const closed = new Promise<void>((done) => socket.once('close', () => done()));
      })),
    );
    // One that does not even begin TLS.
    const silent = connectTcp(endpoint.port, '127.0.0.1').on('error', () => undefined);
    const silentClosed = new Promise<void>((done) => silent.once('close', () => done()));
    assert.equal((await ask(endpoint.port)).status, 200);
    await clock.advance(30_000);
    await Promise.all([...slow.map((s) => s.closed), silentClosed]);
    assert.equal((await ask(endpoint.port)).status, 200);
  });

  test('by https_web proves itself by the files it is given, and takes them again when they change', async () => {
    const dir = await testDir('bundle-web');
    closers.push(() => dir.remove());
    const [certificateFile, keyFile] = [join(dir.path, 'web.pem'), join(dir.path, 'web.key')];
    const renew = async (): Promise<string> => {
      const key = generateKey();
      await writeFile(keyFile, exportKeyPem(key), { mode: 0o600 });
      execFileSync('openssl', ['req', '-x509', '-key', keyFile, '-out', certificateFile, '-subj', '/CN=bundles.acme.example', '-days', '2', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
      return String(execFileSync('cat', [certificateFile]));
    };
    const clock = fakeClock();
    const first = await renew();
    const { endpoint } = await serve({ proof: { profile: 'https_web', certificateFile, keyFile }, clock });
    const fetched = (caPem: string) =>
      fetchBundle({ trustDomain: east.trustDomain, endpoint: { profile: 'https_web', url: `https://localhost:${endpoint.port}/`, caPem }, lastGood: undefined, nowMs: Date.now(), signal: AbortSignal.timeout(30_000) });
    assert.deepEqual((await fetched(first)).bundle, east.bundle);
    const second = await renew();
    await assert.rejects(fetched(second), { code: 'IDENTITY_BUNDLE_ENDPOINT_REFUSED' });
    await clock.advance(60_000);
    const limitMs = systemClock.monotonicMs() + 30_000;
    while ((await fetched(second).then(() => false, () => true)) && systemClock.monotonicMs() < limitMs) await systemClock.sleep(10);
    assert.deepEqual((await fetched(second)).bundle, east.bundle);
    await assert.rejects(serve({ proof: { profile: 'https_web', certificateFile: join(dir.path, 'none'), keyFile } }), { code: 'IDENTITY_BUNDLE_ENDPOINT_FAILED' });
  });

  test('by https_web is refused by a reader that asks for the name of another', async () => {
    const other = testAuthority({ federation: 'globex.example' });
    const { endpoint } = await serve();
    await assert.rejects(
      fetchBundle({ trustDomain: 'x.example' as TrustDomain, endpoint: { profile: 'https_spiffe', url: `https://127.0.0.1:${endpoint.port}/`, spiffeId: 'spiffe://x.example/s' }, lastGood: other.bundle, nowMs: Date.now(), signal: AbortSignal.timeout(30_000) }),
      { code: 'IDENTITY_BUNDLE_ENDPOINT_REFUSED' },
    );
    await assert.rejects(
      fetchBundle({ trustDomain: east.trustDomain, endpoint: { profile: 'https_web', url: `https://127.0.0.1:${endpoint.port}/` }, lastGood: east.bundle, nowMs: Date.now(), signal: AbortSignal.timeout(30_000) }),
      { code: 'IDENTITY_BUNDLE_ENDPOINT_REFUSED' },
    );
  });
});
