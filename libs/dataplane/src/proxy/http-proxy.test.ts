// HTTP through both proxies, with real applications, sockets and mutual TLS.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get as httpGet, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import type { Engine } from '@isthmus/decide';
import { type App, endpointAt, engineOf, inboundFor, outboundFor, PAYMENTS_ID, startApp, svidOf, WEB_ID } from './testing.ts';

const closers: (() => Promise<unknown>)[] = [];
after(async () => {
  await Promise.all(closers.map((close) => close()));
});

type Answer = { readonly status: number; readonly headers: IncomingMessage['headers']; readonly body: string };

async function ask(port: number, options: { method?: string; path?: string; headers?: Record<string, string | string[]>; body?: string | Buffer; agent?: Agent } = {}): Promise<Answer> {
  const { body, ...rest } = options;
  const request = httpRequest({ host: '127.0.0.1', port, ...rest });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  request.on('error', () => undefined); // a reset behind the answer's head; the answer itself tells
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

/** Applications behind an inbound each, and one outbound that knows them all in one tier. */
async function mesh(apps: readonly App[], over: Parameters<typeof outboundFor>[1] = {}) {
  const inbounds = await Promise.all(apps.map((app) => inboundFor(app.port)));
  let engine: Engine = engineOf(inbounds.map((i) => endpointAt(i.port)));
  const outbound = await outboundFor(() => engine, over);
  closers.push(() => outbound.close(), ...inbounds.map((i) => () => i.close()), ...apps.map((a) => () => a.destroy()));
  return { inbounds, outbound, port: outbound.port, setEngine: (next: Engine) => void (engine = next) };
}

const echoHeaders = () => startApp((request, response) => response.end(JSON.stringify({ headers: request.headers, raw: request.rawHeaders, url: request.url })));

test('the application learns the caller’s SPIFFE ID from the certificate, not from what the caller says', async () => {
  const { port } = await mesh([await echoHeaders()]);
  const answer = await ask(port, {
    path: '/a?b=c',
    headers: {
      'x-forwarded-client-cert': 'By=spiffe://evil/x;URI=spiffe://evil/root',
      'X-Envoy-Internal': 'true',
      'l5d-client-id': 'root',
      'x-isthmus-unprocessed': '1',
      'x-custom': 'kept',
      connection: 'keep-alive, x-dropped',
      'x-dropped': 'by nomination',
      te: 'trailers',
    },
  });
  assert.equal(answer.status, 200);
  const seen = JSON.parse(answer.body) as { headers: Record<string, string>; url: string };
  assert.match(seen.headers['x-forwarded-client-cert'] ?? '', new RegExp(`^By=${PAYMENTS_ID};Hash=[0-9a-f]{64};URI=${WEB_ID}$`));
  assert.equal(seen.headers['x-custom'], 'kept');
  assert.equal(seen.url, '/a?b=c');
  for (const gone of ['x-envoy-internal', 'l5d-client-id', 'x-isthmus-unprocessed', 'x-dropped', 'te']) assert.equal(seen.headers[gone], undefined, gone);
});

test('own x-isthmus headers of an application never reach the caller', async () => {
  const { port } = await mesh([await startApp((_q, r) => r.writeHead(503, { 'x-isthmus-unprocessed': '1', 'x-isthmus-reason': 'UH', 'x-app': 'yes' }).end('mine'))]);
  const answer = await ask(port);
  assert.equal(answer.status, 503);
  assert.equal(answer.body, 'mine');
  assert.equal(answer.headers['x-app'], 'yes');
  assert.equal(answer.headers['x-isthmus-unprocessed'], undefined);
  assert.equal(answer.headers['x-isthmus-reason'], undefined);
});

test('repeated headers, such as set-cookie, come through one by one', async () => {
  const { port } = await mesh([await startApp((_q, r) => r.writeHead(200, { 'set-cookie': ['a=1', 'b=2'] }).end())]);
  assert.deepEqual((await ask(port)).headers['set-cookie'], ['a=1', 'b=2']);
});

test('a request with two Host headers is refused with 400', async () => {
  const { port } = await mesh([await echoHeaders()]);
  const socket = connect(port, '127.0.0.1');
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n');
  const [data] = (await once(socket, 'data')) as [Buffer];
  assert.match(data.toString(), /^HTTP\/1\.1 400 /);
  socket.destroy();
});

test('killing one of two backends under load fails no GET', async () => {
  const apps = await Promise.all([1, 2].map((n) => startApp((_q, r) => setImmediate(() => r.end(`app ${n}`)))));
  const { port } = await mesh(apps);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  let stop = false;
  let done = 0;
  const bad: string[] = [];
  const answeredBy = new Set<string>();
  const killAt = 200;
  let killed: Promise<void> | undefined;
  const worker = async (): Promise<void> => {
    while (!stop) {
      const answer = await ask(port, { agent }).catch((e: Error) => ({ status: 0, body: e.message }));
      done += 1;
      if (answer.status !== 200) bad.push(`${answer.status} ${answer.body}`);
      answeredBy.add(answer.body);
      if (done === killAt) killed = apps[0]?.destroy();
      if (done >= 1_000) stop = true;
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  await killed;
  agent.destroy();
  assert.deepEqual(bad, []);
  assert.deepEqual([...answeredBy].sort(), ['app 1', 'app 2']);
});

test('killing one of two inbound agents under load fails no GET', async () => {
  const apps = await Promise.all([1, 2].map(() => startApp((_q, r) => setImmediate(() => r.end('ok')))));
  const { port, inbounds } = await mesh(apps);
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  let done = 0;
  const bad: string[] = [];
  const worker = async (): Promise<void> => {
    while (done < 800) {
      const answer = await ask(port, { agent }).catch((e: Error) => ({ status: 0, body: e.message }));
      done += 1;
      if (answer.status !== 200) bad.push(`${answer.status} ${answer.body}`);
      if (done === 200) void inbounds[0]?.close();
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  agent.destroy();
  assert.deepEqual(bad, []);
});

test('stopping an inbound with a drain time fails no request under load, POST or GET', async () => {
  const apps = await Promise.all([1, 2].map(() => startApp((q, r) => q.resume().on('end', () => setImmediate(() => r.end('ok'))))));
  const { port, inbounds } = await mesh(apps);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  let done = 0;
  const bad: string[] = [];
  const worker = async (_: unknown, n: number): Promise<void> => {
    while (done < 800) {
      const answer = await ask(port, n % 2 === 0 ? { agent } : { agent, method: 'POST', body: 'x' }).catch((e: Error) => ({ status: 0, body: e.message }));
      done += 1;
      if (answer.status !== 200) bad.push(`${answer.status} ${answer.body}`);
      if (done === 200) void inbounds[0]?.close({ drainMs: 2_000 });
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  agent.destroy();
  assert.deepEqual(bad, []);
});

test('a POST whose backend dies after it got the body is not sent to another one', async () => {
  let received = 0;
  const dying = () => startApp((request) => request.resume().on('end', () => {
    received += 1;
    request.socket.destroy();
  }));
  const { port } = await mesh([await dying(), await dying()]);
  const answer = await ask(port, { method: 'POST', body: 'pay 10' });
  assert.equal(answer.status, 503);
  assert.equal(answer.headers['x-isthmus-reason'], 'UC');
  assert.equal(received, 1);
});

test('a GET whose backend dies before it answers is answered by the other one', async () => {
  let first = true;
  const handler = (request: IncomingMessage, response: { end(text: string): void }): void => {
    if (first) {
      first = false;
      request.socket.destroy();
    } else response.end('second');
  };
  const { port } = await mesh([await startApp(handler), await startApp(handler)]);
  const answer = await ask(port);
  assert.equal(answer.status, 200);
  assert.equal(answer.body, 'second');
});

test('a POST that no application got goes to another endpoint with its whole body', async () => {
  const dead = await startApp(() => undefined);
  let body = '';
  const alive = await startApp((request, response) => {
    request.on('data', (c: Buffer) => (body += c.toString())).on('end', () => response.end('ok'));
  });
  const { port } = await mesh([dead, alive]);
  await dead.destroy();
  for (let i = 0; i < 8; i++) {
    body = '';
    const answer = await ask(port, { method: 'POST', body: `order ${i}` });
    assert.equal(answer.status, 200);
    assert.equal(body, `order ${i}`);
  }
});

test('an application that is down is reported at once, not at the next probe', async () => {
  const app = await startApp(() => undefined);
  await app.destroy();
  const down = Promise.withResolvers<string>();
  const inbound = await inboundFor(app.port, { onApplicationDown: (w) => down.resolve(w.instance) });
  const outbound = await outboundFor(() => engineOf([endpointAt(inbound.port)]));
  closers.push(() => outbound.close(), () => inbound.close());
  const answer = await ask(outbound.port);
  assert.equal(answer.status, 503);
  assert.equal(answer.headers['x-isthmus-reason'], 'UF');
  assert.equal(answer.headers['x-isthmus-unprocessed'], undefined);
  assert.equal(await down.promise, `p-${app.port}`);
});

test('without any endpoint the caller gets 503 and the reason UH', async () => {
  const outbound = await outboundFor(() => engineOf([]));
  closers.push(() => outbound.close());
  const answer = await ask(outbound.port);
  assert.equal(answer.status, 503);
  assert.equal(answer.headers['x-isthmus-reason'], 'UH');
  assert.match(answer.body, /no healthy endpoint of shop\/payments/);
});

test('an endpoint that answers with another identity gets nothing, and the right one answers', async () => {
  let impostorGot = 0;
  const impostorApp = await startApp((_q, r) => {
    impostorGot += 1;
    r.end('stolen');
  });
  const impostor = await inboundFor(impostorApp.port, { svids: svidOf('spiffe://east.acme.example/ns/shop/svc/other') });
  const app = await startApp((_q, r) => r.end('right'));
  const right = await inboundFor(app.port);
  const outbound = await outboundFor(() => engineOf([endpointAt(impostor.port), endpointAt(right.port)]));
  const alone = await outboundFor(() => engineOf([endpointAt(impostor.port)]));
  closers.push(() => outbound.close(), () => alone.close(), () => impostor.close(), () => right.close(), () => impostorApp.destroy(), () => app.destroy());
  for (let i = 0; i < 6; i++) assert.equal((await ask(outbound.port)).body, 'right');
  const refused = await ask(alone.port);
  assert.equal(refused.status, 503);
  assert.match(refused.body, /svc\/other answered/);
  assert.equal(impostorGot, 0);
});

test('no answer within the time limit is 504, and is not tried again', async () => {
  let asked = 0;
  const { port } = await mesh([await startApp(() => void (asked += 1)), await startApp(() => void (asked += 1))], { limits: { requestMs: 300 } });
  const answer = await ask(port);
  assert.equal(answer.status, 504);
  assert.equal(asked, 1);
});

test('an answer cut off in the middle is a broken connection for the caller, never a whole answer', async () => {
  const { port } = await mesh([await startApp((request, response) => {
    response.writeHead(200);
    response.write('half', () => request.socket.destroy());
  })]);
  await assert.rejects(ask(port), /aborted|socket hang up|ECONNRESET/);
});

test('a large body arrives whole both ways', async () => {
  const { port } = await mesh([await startApp((request, response) => request.pipe(response))]);
  const body = Buffer.alloc(3 * 1024 * 1024, 'abcdefghij');
  const answer = await ask(port, { method: 'POST', body });
  assert.equal(answer.body.length, body.length);
  assert.equal(createHash('sha256').update(answer.body).digest('hex'), createHash('sha256').update(body).digest('hex'));
});

test('a slow reader holds the application back instead of filling memory', async () => {
  let sent = 0;
  const chunk = Buffer.alloc(64 * 1024);
  const total = 96 * 1024 * 1024;
  const paused = Promise.withResolvers<void>();
  const app = await startApp((_request, response) => {
    const push = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!response.write(chunk)) {
          paused.resolve();
          return void response.once('drain', push);
        }
      }
      response.end();
    };
    push();
  });
  const { port } = await mesh([app]);
  const request = httpGet({ host: '127.0.0.1', port });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.pause();
  await paused.promise;
  // Waits until nothing more is taken from the application: every buffer on the way is full.
  for (let last = -1; last !== sent; ) {
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  assert.ok(sent < total / 2, `${sent} bytes were taken although nobody read`);
  let received = 0;
  for await (const part of response) received += (part as Buffer).length;
  assert.equal(received, total);
});

test('a WebSocket upgrade becomes a relay both ways, and other upgrades stay HTTP', async () => {
  const app = await startApp((_q, r) => r.end('plain'));
  app.server.on('upgrade', (request, socket, head: Buffer) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx-who: ' + String(request.headers['x-forwarded-client-cert']).length + '\r\n\r\n');
    if (head.length > 0) socket.write(head);
    socket.pipe(socket);
  });
  const { port } = await mesh([app]);
  const request = httpRequest({ host: '127.0.0.1', port, headers: { connection: 'upgrade', upgrade: 'websocket' } });
  request.end();
  const [response, socket] = (await once(request, 'upgrade')) as [IncomingMessage, import('node:net').Socket];
  assert.equal(response.statusCode, 101);
  assert.ok(Number(response.headers['x-who']) > 50);
  socket.write('hello');
  const [echo] = (await once(socket, 'data')) as [Buffer];
  assert.equal(echo.toString(), 'hello');
  socket.destroy();

  const h2c = await ask(port, { headers: { connection: 'upgrade, http2-settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQAAP__' } });
  assert.equal(h2c.body, 'plain');
});

test('new connections follow a new snapshot, and requests under way on the old endpoint end well', async () => {
  const release = Promise.withResolvers<void>();
  const old = await startApp((_q, r) => void release.promise.then(() => r.end('old')));
  const fresh = await startApp((_q, r) => r.end('new'));
  const m = await mesh([old, fresh]);
  m.setEngine(engineOf([endpointAt(m.inbounds[0]?.port ?? 0)]));
  const waiting = ask(m.port);
  await new Promise<void>((resolve) => old.server.once('request', () => resolve()));
  m.setEngine(engineOf([endpointAt(m.inbounds[1]?.port ?? 0)]));
  assert.equal((await ask(m.port)).body, 'new');
  release.resolve();
  assert.equal((await waiting).body, 'old');
});

test('a port in use is named in the error', async () => {
  const app = await startApp(() => undefined);
  closers.push(() => app.destroy());
  await assert.rejects(outboundFor(() => engineOf([]), { listen: { host: '127.0.0.1', port: app.port } }), (error: Error) => {
    assert.match(error.message, new RegExp(`shop/payments cannot listen on 127\\.0\\.0\\.1:${app.port}: the port is in use`));
    return true;
  });
});
