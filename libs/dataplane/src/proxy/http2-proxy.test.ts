// HTTP/2 and gRPC through both proxies, and from each version of HTTP to the other, on both transports.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get as httpGet, type IncomingMessage, request as httpRequest } from 'node:http';
import { type ClientHttp2Session, connect as connectH2, constants, createServer as createH2Server, type Http2Server, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { Protocol } from '@isthmus/model';
import { Loop } from '../transport/linux/loop.ts';
import { linuxTransport } from '../transport/linux/transport.ts';
import { portableTransport } from '../transport/portable.ts';
import type { Transport } from '../transport/transport.ts';
import { endpointAt, engineOf, inboundFor, outboundFor, PAYMENTS_ID, startApp, WEB_ID } from './testing.ts';

const errors: unknown[] = [];
const loop = process.platform === 'linux' ? new Loop((error) => errors.push(error), { sharesThread: true }) : undefined;
const transports: readonly Transport[] = [portableTransport(), ...(loop === undefined ? [] : [linuxTransport(loop)])];

const closers: (() => Promise<unknown>)[] = [];
after(async () => {
  await Promise.all(closers.map((close) => close()));
  loop?.close();
  assert.deepEqual(errors, []);
});

type H2App = { readonly port: number; readonly server: Http2Server; readonly streams: Set<ServerHttp2Stream>; goaway(): void; destroy(): Promise<void> };

async function startH2App(onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void): Promise<H2App> {
  const server = createH2Server();
  const streams = new Set<ServerHttp2Stream>();
  const sessions = new Set<{ close(): void; destroy(): void }>();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    streams.add(stream);
    stream.on('error', () => undefined);
    stream.once('close', () => streams.delete(stream));
    onStream(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const goaway = (): void => {
    for (const session of [...sessions]) session.close();
  };
  const destroy = async (): Promise<void> => {
    server.close();
    for (const session of [...sessions]) session.destroy();
  };
  return { port: (server.address() as AddressInfo).port, server, streams, goaway, destroy };
}

type Meshed = { readonly port: number };

async function mesh(transport: Transport, appPorts: readonly number[], protocol: Protocol, over: { inbound?: Parameters<typeof inboundFor>[1]; outbound?: Parameters<typeof outboundFor>[1] } = {}) {
  const inbounds = await Promise.all(appPorts.map((port) => inboundFor(port, { transport, protocol, ...over.inbound })));
  const outbound = await outboundFor(() => engineOf(inbounds.map((i) => endpointAt(i.port)), protocol), { transport, protocol, ...over.outbound });
  closers.push(() => outbound.close(), ...inbounds.map((i) => () => i.close()));
  return { port: outbound.port, outbound, inbounds };
}

function client({ port }: Meshed): ClientHttp2Session {
  const session = connectH2(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  closers.push(async () => session.destroy());
  return session;
}

type Answer = { readonly headers: IncomingHttpHeaders; readonly trailers: IncomingHttpHeaders; readonly body: string; readonly code: number };

async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: string | Buffer): Promise<Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  let answered: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on('response', (h) => (answered = h));
  stream.on('trailers', (h) => (trailers = h));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => undefined);
  if (body !== undefined) stream.end(body);
  await new Promise((resolve) => stream.once('close', resolve));
  return { headers: answered, trailers, body: Buffer.concat(chunks).toString(), code: stream.rstCode };
}

const CALL: OutgoingHttpHeaders = { ':method': 'POST', ':path': '/shop.Payments/Pay', 'content-type': 'application/grpc', te: 'trailers' };

function answerCall(stream: ServerHttp2Stream, text: string, status = '0'): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status, 'x-last': 'yes' }));
  stream.end(text);
}

function until(condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => (condition() ? resolve() : void setTimeout(look, 5));
    look();
  });
}

for (const transport of transports) {
  const on = (name: string, fn: () => Promise<void>): void => void test(`${transport.engine}: ${name}`, { timeout: 20_000 }, fn);

  on('a gRPC call arrives with its caller’s identity, and its trailers come back', async () => {
    let seen: IncomingHttpHeaders = {};
    let got = '';
    const app = await startH2App((stream, headers) => {
      seen = headers;
      stream.on('data', (c: Buffer) => (got += c.toString())).on('end', () => answerCall(stream, `paid ${got}`));
    });
    closers.push(() => app.destroy());
    const session = client(await mesh(transport, [app.port], 'grpc'));
    const answer = await ask(session, { ...CALL, 'x-forwarded-client-cert': 'URI=spiffe://evil', 'x-isthmus-unprocessed': '1', 'x-kept-bin': 'AAE' }, '10');
    assert.equal(answer.body, 'paid 10');
    assert.deepEqual([answer.trailers['grpc-status'], answer.trailers['x-last']], ['0', 'yes']);
    assert.match(String(seen['x-forwarded-client-cert']), new RegExp(`^By=${PAYMENTS_ID};Hash=[0-9a-f]{64};URI=${WEB_ID}$`));
    assert.deepEqual([seen['te'], seen['x-kept-bin'], seen['x-isthmus-unprocessed'], seen['x-isthmus-hops']], ['trailers', 'AAE', undefined, '1']);
  });

  on('messages of a call go both ways while it lasts', async () => {
    const app = await startH2App((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.on('data', (c: Buffer) => stream.write(`echo ${c.toString()};`)).on('end', () => stream.end());
    });
    closers.push(() => app.destroy());
    const stream = client(await mesh(transport, [app.port], 'grpc')).request(CALL);
    for (const word of ['one', 'two', 'three']) {
      stream.write(word);
      const [chunk] = (await once(stream, 'data')) as [Buffer];
      assert.equal(chunk.toString(), `echo ${word};`);
    }
    stream.end();
    const [trailers] = (await once(stream, 'trailers')) as [IncomingHttpHeaders];
    assert.equal(trailers['grpc-status'], '0');
  });

  on('large metadata and an answer of 5 MB come through, and an answer without messages stays one', async () => {
    const app = await startH2App((stream, headers) => {
      if (headers[':path'] === '/none') return void stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5', 'grpc-message': 'no such' }, { endStream: true });
      answerCall(stream, `${String(headers['x-large']).length} ${'x'.repeat(5 << 20)}`);
    });
    closers.push(() => app.destroy());
    const session = client(await mesh(transport, [app.port], 'grpc'));
    const large = await ask(session, { ...CALL, 'x-large': 'm'.repeat(12_000) }, '');
    assert.equal(large.body.length, (5 << 20) + 6);
    assert.equal(large.trailers['grpc-status'], '0');
    const none = await ask(session, { ...CALL, ':path': '/none' }, '');
    assert.deepEqual([none.headers['grpc-status'], none.headers['grpc-message'], none.body], ['5', 'no such', '']);
  });

  on('an HTTP/1.1 caller reaches an application that speaks HTTP/2 only', async () => {
    const app = await startH2App((stream, headers) => {
      let got = '';
      stream.on('data', (c: Buffer) => (got += c.toString())).on('end', () => {
        stream.respond({ ':status': 201, 'x-host': String(headers[':authority']) });
        stream.end(`${headers[':method']} ${headers[':path']} ${got}`);
      });
    });
    closers.push(() => app.destroy());
    const { port } = await mesh(transport, [app.port], 'http2');
    const request = httpRequest({ host: '127.0.0.1', port, method: 'PUT', path: '/a?b', headers: { host: 'shop.example', 'transfer-encoding': 'chunked' } });
    request.end('body');
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    assert.deepEqual([response.statusCode, response.headers['x-host']], [201, 'shop.example']);
    assert.equal(Buffer.concat(await response.toArray()).toString(), 'PUT /a?b body');
  });

  on('an HTTP/2 caller reaches an application that speaks HTTP/1.1 only, many at once over one connection', async () => {
    const app = await startApp((request, response) => {
      let got = '';
      request.on('data', (c: Buffer) => (got += c.toString())).on('end', () => {
        response.writeEarlyHints({ link: '</s.css>; rel=preload' });
        response.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], connection: 'keep-alive', trailer: 'x-sum' });
        response.addTrailers({ 'x-sum': String(got.length) });
        response.end(`${request.httpVersion} ${request.headers.host} ${got}`);
      });
    });
    closers.push(() => app.destroy());
    const session = client(await mesh(transport, [app.port], 'http'));
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(session, { ':method': 'POST', ':path': '/', ':authority': 'shop.example' }, `body ${i}`)));
    assert.deepEqual(answers.map((a) => a.body), Array.from({ length: 50 }, (_, i) => `1.1 shop.example body ${i}`));
    assert.deepEqual(answers[0]?.headers['set-cookie'], ['a=1', 'b=2']);
    assert.equal(answers[49]?.trailers['x-sum'], '7');
  });

  on('a gRPC call to nobody ends with UNAVAILABLE in gRPC’s own words', async () => {
    const answer = await ask(client(await mesh(transport, [], 'grpc')), CALL, 'x');
    assert.deepEqual([answer.headers[':status'], answer.headers['content-type'], answer.headers['grpc-status'], answer.headers['x-isthmus-reason']], [200, 'application/grpc', '14', 'UH']);
    assert.match(String(answer.headers['grpc-message']), /^isthmus: no healthy endpoint of shop\/payments \(UH\)$/);
  });

  on('a call that one application could not take goes to the other', async () => {
    const dead = await startH2App(() => undefined);
    const app = await startH2App((stream) => answerCall(stream, 'alive'));
    const meshed = await mesh(transport, [dead.port, app.port], 'grpc');
    await dead.destroy();
    closers.push(() => app.destroy());
    const session = client(meshed);
    for (let i = 0; i < 6; i++) {
      const answer = await ask(session, CALL, 'x');
      assert.deepEqual([answer.body, answer.trailers['grpc-status']], ['alive', '0']);
    }
  });

  on('a call cut off in the middle ends with UNAVAILABLE in its trailers, another stream is reset', async () => {
    const app = await startH2App((stream, headers) => {
      stream.respond({ ':status': 200, 'content-type': String(headers['content-type']) });
      stream.write('half', () => setImmediate(() => stream.session?.destroy()));
    });
    closers.push(() => app.destroy());
    const session = client(await mesh(transport, [app.port], 'grpc'));
    const call = await ask(session, CALL, 'x');
    assert.deepEqual([call.trailers['grpc-status'], call.code], ['14', 0]);
    const plain = await ask(session, { ':path': '/', 'content-type': 'text/plain' });
    assert.notEqual(plain.code, 0);
  });

  on('a deadline shrinks on its way, and when it is over the caller is told and the application’s work is called off', async () => {
    const timeouts: string[] = [];
    const app = await startH2App((stream, headers) => {
      timeouts.push(String(headers['grpc-timeout']));
      if (headers[':path'] === '/begun') stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    });
    closers.push(() => app.destroy());
    const session = client(await mesh(transport, [app.port], 'grpc'));
    const silent = await ask(session, { ...CALL, 'grpc-timeout': '600m' }, 'x');
    assert.equal(silent.headers['grpc-status'], '4');
    const begun = await ask(session, { ...CALL, ':path': '/begun', 'grpc-timeout': '600m' }, 'x');
    assert.equal(begun.trailers['grpc-status'], '4');
    await until(() => app.streams.size === 0);
    for (const timeout of timeouts) assert.ok(/^\d+u$/.test(timeout) && Number.parseInt(timeout, 10) < 600_000 && Number.parseInt(timeout, 10) > 0, timeout);
    assert.equal(timeouts.length, 2);
  });

  on('a thousand calls taken back by their caller are taken back from the application, and the next one is answered', async () => {
    let begun = 0;
    const app = await startH2App((stream, headers) => {
      begun += 1;
      if (headers[':path'] === '/now') answerCall(stream, 'now');
    });
    closers.push(() => app.destroy());
    const meshed = await mesh(transport, [app.port], 'grpc');
    // Twenty callers: half of them take back each call, half of them go away with all of theirs.
    for (let round = 0; round < 20; round++) {
      const session = client(meshed);
      const target = begun + 50;
      const streams = Array.from({ length: 50 }, () => session.request(CALL));
      for (const stream of streams) stream.on('error', () => undefined).write('x');
      await until(() => begun >= target);
      if (round % 2 === 0) session.destroy();
      else for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      await until(() => app.streams.size === 0);
    }
    assert.equal((await ask(client(meshed), { ...CALL, ':path': '/now' }, 'x')).body, 'now');
  });

  on('an application that asks for new connections under load costs no call', async () => {
    let count = 0;
    const app = await startH2App((stream) => {
      count += 1;
      if (count % 40 === 0) app.goaway();
      stream.resume().on('end', () => answerCall(stream, 'ok'));
    });
    closers.push(() => app.destroy());
    const session = client(await mesh(transport, [app.port], 'grpc'));
    const bad: string[] = [];
    await Promise.all(Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 50; i++) {
        const answer = await ask(session, CALL, 'x');
        if (answer.trailers['grpc-status'] !== '0') bad.push(JSON.stringify(answer));
      }
    }));
    assert.deepEqual(bad, []);
  });

  on('stopping an inbound with a drain time fails no call under load', async () => {
    const apps = await Promise.all([1, 2].map(() => startH2App((stream) => stream.resume().on('end', () => setImmediate(() => answerCall(stream, 'ok'))))));
    closers.push(...apps.map((app) => () => app.destroy()));
    const meshed = await mesh(transport, apps.map((app) => app.port), 'grpc');
    const session = client(meshed);
    const bad: string[] = [];
    let done = 0;
    let closed: Promise<void> | undefined;
    await Promise.all(Array.from({ length: 8 }, async () => {
      while (done < 400) {
        const answer = await ask(session, CALL, 'x');
        done += 1;
        if (answer.trailers['grpc-status'] !== '0') bad.push(JSON.stringify(answer));
        if (done === 100) closed = meshed.inbounds[0]?.close({ drainMs: 2_000 });
      }
    }));
    await closed;
    assert.deepEqual(bad, []);
  });

  on('a request that goes round in circles ends with 508', async () => {
    let inboundPort = 0;
    const outbound = await outboundFor(() => engineOf([endpointAt(inboundPort)]), { transport });
    const inbound = await inboundFor(outbound.port, { transport });
    inboundPort = inbound.port;
    closers.push(() => outbound.close(), () => inbound.close());
    const request = httpGet({ host: '127.0.0.1', port: outbound.port });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 508);
    assert.match(Buffer.concat(await response.toArray()).toString(), /has passed 16 proxies/);
  });

  on('WebSocket goes from one version of HTTP to the other', async () => {
    const h2 = await startH2App((stream, headers) => {
      assert.deepEqual([headers[':method'], headers[':protocol'], headers['sec-websocket-key']], ['CONNECT', 'websocket', undefined]);
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    h2.server.updateSettings({ enableConnectProtocol: true });
    closers.push(() => h2.destroy());
    const { port } = await mesh(transport, [h2.port], 'http2');
    const request = httpRequest({ host: '127.0.0.1', port, headers: { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' } });
    request.end();
    const [response, socket] = (await once(request, 'upgrade')) as [IncomingMessage, import('node:net').Socket];
    assert.equal(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    socket.write('hello');
    assert.equal(String((await once(socket, 'data'))[0]), 'hello');
    socket.destroy();
    await until(() => h2.streams.size === 0);

    const h1 = await startApp((_q, r) => r.end());
    h1.server.on('upgrade', (asked, stream) => {
      assert.match(String(asked.headers['sec-websocket-key']), /^[A-Za-z0-9+/]{22}==$/);
      stream.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      stream.on('error', () => undefined);
      stream.pipe(stream);
    });
    closers.push(() => h1.destroy());
    const session = client(await mesh(transport, [h1.port], 'http'));
    await once(session, 'remoteSettings');
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat', ':scheme': 'http', ':authority': 'a' });
    const [answered] = (await once(stream, 'response')) as [IncomingHttpHeaders];
    assert.equal(answered[':status'], 200);
    stream.write('hello');
    assert.equal(String((await once(stream, 'data'))[0]), 'hello');
    stream.destroy();
  });
}
