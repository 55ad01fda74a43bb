// Both transports keep the same promises: the same cases run on Node's sockets and on the loop's.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { IsthmusError, type TrustDomain } from '@isthmus/model';
import { fixedSvidSource, openBundleSet } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { freePort } from '@isthmus/runtime';
import { east, eastBundles, PAYMENTS_ID, svidOf, WEB_ID } from '../proxy/testing.ts';
import { Loop } from './linux/loop.ts';
import { linuxTransport } from './linux/transport.ts';
import { portableTransport } from './portable.ts';
import type { ByteStream, SecureStream, Transport } from './transport.ts';

const EAST = 'east.acme.example' as TrustDomain;
const SNI = 'http.payments.shop.east.acme.example';
const server = svidOf(PAYMENTS_ID);
const client = svidOf(WEB_ID);
const bundles = eastBundles();
const errors: unknown[] = [];
const loop = new Loop((error) => errors.push(error), { sharesThread: true });
const closers: (() => void)[] = [];
after(() => {
  closers.forEach((close) => close());
  loop.close();
  assert.deepEqual(errors, []);
});

const transports: readonly Transport[] = [portableTransport(), ...(process.platform === 'linux' ? [linuxTransport(loop)] : [])];
const ANY = { host: '127.0.0.1', port: 0 };

function queue<T>() {
  const waiting: ((value: T) => void)[] = [];
  const ready: T[] = [];
  return {
    push: (value: T): void => {
      const taker = waiting.shift();
      if (taker === undefined) ready.push(value);
      else taker(value);
    },
    next: (): Promise<T> => {
      const value = ready.shift();
      return value === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(value);
    },
  };
}

async function plainPair(transport: Transport): Promise<{ near: Socket; far: ByteStream }> {
  const accepted = queue<ByteStream>();
  const listener = await transport.listen({ listen: ANY, label: 'test', allowHalfOpen: true, connections: 100 }, accepted.push);
  closers.push(() => listener.close());
  const near = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
  near.on('error', () => undefined);
  closers.push(() => near.destroy());
  const far = await accepted.next();
  far.on('error', () => undefined);
  return { near, far };
}

async function secureListener(transport: Transport, over: object = {}) {
  const secure = queue<SecureStream>();
  const refused = queue<unknown>();
  const listener = await transport.listenMutualTls(
    { listen: ANY, label: 'test', allowHalfOpen: true, connections: 100, svids: server, bundles, timeoutMs: 2_000, alpn: ['h2', 'http/1.1'], ...over },
    secure.push,
    refused.push,
  );
  closers.push(() => listener.close());
  return { listener, secure, refused };
}

const dialOf = (port: number) => ({ host: '127.0.0.1', port, sni: SNI, expectedId: PAYMENTS_ID, trustDomain: EAST, svids: client, bundles, timeoutMs: 2_000, allowHalfOpen: true });

function collect(stream: ByteStream | Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve, reject) => {
    (stream as ByteStream).on('data', (chunk: Buffer) => chunks.push(chunk));
    (stream as ByteStream).on('end', () => resolve(Buffer.concat(chunks)));
    (stream as ByteStream).on('close', () => reject(new Error('closed before its end')));
  });
}

const closed = (stream: ByteStream): Promise<void> => new Promise((resolve) => stream.on('close', () => resolve()));
/** Looks at every turn; the test's own time limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

const reasonOf = (error: unknown): unknown => (error instanceof IsthmusError ? (error.facts['reason'] ?? error.code) : error);

for (const transport of transports) {
  const claim = (text: string, fn: () => Promise<void>): void => void test(`${transport.engine}: ${text}`, { timeout: 20_000 }, fn);

  claim('bytes come out as they went in, both ways at once, and each end is passed on by itself', async () => {
    const { near, far } = await plainPair(transport);
    const up = randomBytes(3_000_000);
    const down = randomBytes(2_000_000);
    const [gotUp, gotDown] = [collect(far), collect(near)];
    near.end(up);
    far.write(down);
    far.end();
    assert.ok((await gotUp).equals(up));
    assert.ok((await gotDown).equals(down));
    await until(() => far.destroyed);
    assert.ok(far.readableEnded && far.writableFinished);
  });

  claim('small writes of one turn arrive in order, strings and bytes mixed', async () => {
    const { near, far } = await plainPair(transport);
    const got = collect(near);
    far.cork();
    far.write('head \xe9', 'latin1');
    far.write(Buffer.from(' body'));
    far.uncork();
    far.write('', 'latin1');
    far.write(' tail', 'latin1');
    far.end();
    assert.equal((await got).toString('latin1'), 'head \xe9 body tail');
  });

  claim('one end closed, the other direction goes on', async () => {
    const { near, far } = await plainPair(transport);
    const got = collect(near);
    const ended = collect(far);
    near.end('question');
    assert.equal(String(await ended), 'question');
    far.write(Buffer.from('answer'));
    far.end();
    assert.equal(String(await got), 'answer');
  });

  claim('a reset is an error and no end', async () => {
    const { near, far } = await plainPair(transport);
    const code = new Promise((resolve) => far.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)));
    far.on('data', () => undefined);
    near.resetAndDestroy();
    assert.equal(await code, 'ECONNRESET');
    await (far.destroyed ? undefined : closed(far));
    assert.equal(far.readableEnded, false);
  });

  claim('reset() is a reset at the other end', async () => {
    const { near, far } = await plainPair(transport);
    const failed = once(near, 'error');
    near.resume();
    transport.reset(far);
    assert.equal((await failed)[0].code, 'ECONNRESET');
    await (far.destroyed ? undefined : closed(far));
  });

  claim('a writer is told to hold back, and to go on once the reader reads', async () => {
    const { near, far } = await plainPair(transport);
    near.pause();
    const chunk = Buffer.alloc(64_000, 1);
    let sent = 0;
    while (far.write(chunk)) sent += chunk.length;
    sent += chunk.length;
    assert.ok(far.writableNeedDrain);
    const drained = new Promise<void>((resolve) => far.on('drain', () => resolve()));
    const got = collect(near);
    near.resume();
    await drained;
    far.end();
    assert.equal((await got).length, sent);
  });

  claim('a paused reader is given nothing more, and everything once it goes on', async () => {
    const { near, far } = await plainPair(transport);
    const body = randomBytes(4_000_000);
    let seen = 0;
    const hash = createHash('sha256');
    const first = new Promise<void>((resolve) =>
      far.on('data', (chunk) => {
        seen += chunk.length;
        hash.update(chunk);
        far.pause();
        setImmediate(() => far.resume());
        resolve();
      }),
    );
    const end = new Promise<void>((resolve) => far.on('end', resolve));
    near.end(body);
    await first;
    await end;
    assert.equal(seen, body.length);
    assert.equal(hash.digest('hex'), createHash('sha256').update(body).digest('hex'));
  });

  claim('a connection on which nothing moves times out', async () => {
    const { far } = await plainPair(transport);
    far.on('data', () => undefined);
    await new Promise<void>((resolve) => far.setTimeout(30, resolve));
    assert.equal(far.destroyed, false);
    far.destroy();
  });

  claim('dialling a port where nobody listens fails at once and says so; dialling a name works', async () => {
    const port = await freePort();
    const probe = createServer().listen(port, '127.0.0.1');
    await once(probe, 'listening');
    const stream = await transport.dial({ host: 'localhost', port, timeoutMs: 2_000, allowHalfOpen: false });
    stream.on('error', () => undefined);
    stream.destroy();
    probe.close();
    await once(probe, 'close');
    await assert.rejects(transport.dial({ host: '127.0.0.1', port, timeoutMs: 2_000, allowHalfOpen: false }), { code: 'DATAPLANE_CONNECT_FAILED', message: /ECONNREFUSED/ });
  });

  claim('a port in use is a clear error', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    closers.push(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    await assert.rejects(transport.listen({ listen: { host: '127.0.0.1', port }, label: 'the test', allowHalfOpen: false, connections: 1 }, () => undefined), { code: 'DATAPLANE_LISTEN_FAILED', message: new RegExp(`the test cannot listen on 127.0.0.1:${port}`) });
  });

  claim('more connections than allowed are closed at accept', async () => {
    const accepted = queue<ByteStream>();
    const listener = await transport.listen({ listen: ANY, label: 'test', allowHalfOpen: true, connections: 1 }, accepted.push);
    closers.push(() => listener.close());
    const first = connect(listener.port, '127.0.0.1');
    closers.push(() => first.destroy());
    await accepted.next();
    const second = connect(listener.port, '127.0.0.1').on('error', () => undefined);
    second.resume();
    await once(second, 'close');
    assert.equal(listener.open.size, 1);
  });

  claim('mutual TLS proves both ends, agrees on a protocol, and carries bytes and ends both ways', async () => {
    const { listener, secure } = await secureListener(transport);
    const dialled = await transport.dialMutualTls({ ...dialOf(listener.port), alpn: ['http/1.1'] });
    const accepted = await secure.next();
    assert.equal(accepted.peer.spiffeId, WEB_ID);
    assert.match(accepted.peer.leafSha256, /^[0-9a-f]{64}$/);
    assert.deepEqual([dialled.alpn, accepted.alpn, accepted.serverName], ['http/1.1', 'http/1.1', SNI]);
    const up = randomBytes(1_500_000);
    const down = randomBytes(1_000_000);
    const [gotUp, gotDown] = [collect(accepted.stream), collect(dialled.stream)];
    const gone = Promise.all([closed(dialled.stream), closed(accepted.stream)]);
    dialled.stream.write(up);
    dialled.stream.end();
    accepted.stream.write(down);
    accepted.stream.end();
    assert.ok((await gotUp).equals(up));
    assert.ok((await gotDown).equals(down));
    await gone;
  });

  claim('its own two ends meet those of the other transport', async () => {
    for (const other of transports) {
      const { listener, secure } = await secureListener(other);
      const { stream } = await transport.dialMutualTls(dialOf(listener.port));
      const accepted = await secure.next();
      const got = collect(accepted.stream);
      stream.write('hello', 'latin1');
      stream.end();
      assert.equal(String(await got), 'hello');
      const gone = closed(stream);
      accepted.stream.end();
      stream.on('data', () => undefined);
      await gone;
    }
  });

  claim('a server that is somebody else, or vouched for by another root, is refused by the caller', async () => {
    const { listener } = await secureListener(transport);
    await assert.rejects(transport.dialMutualTls({ ...dialOf(listener.port), expectedId: WEB_ID }), (error) => reasonOf(error) === 'wrong-id');
    const stranger = testAuthority({ cluster: 'east' });
    await assert.rejects(transport.dialMutualTls({ ...dialOf(listener.port), bundles: openBundleSet([stranger.bundle]) }), (error) => reasonOf(error) === 'untrusted');
    await assert.rejects(transport.dialMutualTls({ ...dialOf(listener.port), bundles: openBundleSet([]) }), (error) => reasonOf(error) === 'no-bundle');
  });

  claim('callers without a certificate, with a foreign one or with an expired one are refused, each with its reason', async () => {
    const { listener, secure, refused } = await secureListener(transport);
    const stranger = fixedSvidSource(testAuthority({ cluster: 'east' }).issue(WEB_ID));
    await transport.dialMutualTls({ ...dialOf(listener.port), svids: stranger }).catch(() => undefined);
    assert.equal(reasonOf(await refused.next()), 'untrusted');
    const old = fixedSvidSource(east.issue(WEB_ID, { nowMs: Date.now() - 7_200_000, ttlMs: 3_600_000 }));
    await transport.dialMutualTls({ ...dialOf(listener.port), svids: old }).catch(() => undefined);
    assert.equal(reasonOf(await refused.next()), 'expired');
    const bare = connectTls({ port: listener.port, host: '127.0.0.1', servername: SNI, rejectUnauthorized: false });
    const bareGone = new Promise((resolve) => bare.once('close', resolve));
    bare.on('error', () => undefined).resume();
    assert.equal(reasonOf(await refused.next()), 'malformed');
    await bareGone;
    const plain = connect(listener.port, '127.0.0.1').on('error', () => undefined);
    const plainGone = new Promise((resolve) => plain.once('close', resolve));
    plain.write('GET / HTTP/1.1\r\n\r\n');
    plain.resume();
    assert.equal(reasonOf(await refused.next()), 'DATAPLANE_HANDSHAKE_FAILED');
    await plainGone;
    const tls12 = connectTls({ port: listener.port, host: '127.0.0.1', servername: SNI, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }).on('error', () => undefined);
    assert.equal(reasonOf(await refused.next()), 'DATAPLANE_HANDSHAKE_FAILED');
    tls12.destroy();
    await until(() => listener.open.size === 0);
    assert.equal(await Promise.race([secure.next(), Promise.resolve('nobody')]), 'nobody');
  });

  claim('a handshake that does not go on is given up, at either end', async () => {
    const { listener, refused } = await secureListener(transport, { timeoutMs: 50 });
    const silent = connect(listener.port, '127.0.0.1').on('error', () => undefined);
    silent.resume();
    assert.equal(reasonOf(await refused.next()), 'DATAPLANE_CONNECT_TIMEOUT');
    const mute = createServer((socket) => closers.push(() => socket.destroy())).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    closers.push(() => mute.close());
    await assert.rejects(transport.dialMutualTls({ ...dialOf((mute.address() as AddressInfo).port), timeoutMs: 50 }), { code: 'DATAPLANE_CONNECT_TIMEOUT' });
  });

  claim('a new SVID is shown to the next caller while a connection made before goes on', async () => {
    let current = server.current();
    const { listener, secure } = await secureListener(transport, { svids: { current: () => current, onChange: () => () => undefined } });
    const first = await transport.dialMutualTls(dialOf(listener.port));
    const firstAccepted = await secure.next();
    current = east.issue(PAYMENTS_ID);
    const second = await transport.dialMutualTls(dialOf(listener.port));
    await secure.next();
    const got = collect(firstAccepted.stream);
    first.stream.write('still here', 'latin1');
    first.stream.end();
    assert.equal(String(await got), 'still here');
    current = undefined;
    await assert.rejects(transport.dialMutualTls(dialOf(listener.port)), IsthmusError);
    second.stream.destroy();
    firstAccepted.stream.destroy();
  });

  claim('a mutual TLS stream cut off without its close is no end', async () => {
    const { listener, secure } = await secureListener(transport);
    const { stream } = await transport.dialMutualTls(dialOf(listener.port));
    const accepted = await secure.next();
    let ended = false;
    stream.on('end', () => (ended = true));
    stream.on('data', () => undefined);
    stream.on('error', () => undefined);
    accepted.stream.write('half of it', 'latin1');
    transport.reset(accepted.stream);
    await closed(stream);
    assert.equal(ended, false);
  });

  claim('no descriptor is left open after hundreds of connections that ended in every way', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    if (process.platform !== 'linux') return;
    const { listener, secure } = await secureListener(transport);
    const before = count();
    for (let i = 0; i < 60; i++) {
      const [a, b] = await Promise.all([transport.dialMutualTls(dialOf(listener.port)), secure.next()]);
      for (const s of [a.stream, b.stream]) s.on('error', () => undefined).on('data', () => undefined);
      const gone = Promise.all([closed(a.stream), closed(b.stream)]);
      if (i % 4 === 0) {
        a.stream.destroy();
        b.stream.destroy();
      }
      else if (i % 4 === 1) transport.reset(b.stream);
      else if (i % 4 === 2) {
        a.stream.end();
        b.stream.end();
      } else {
        a.stream.write(Buffer.alloc(200_000));
        a.stream.destroy(new Error('given up'));
        b.stream.destroy();
      }
      await gone;
    }
    await until(() => count() <= before && listener.open.size === 0);
  });
}
