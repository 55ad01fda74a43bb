// The HTTP/2 codec before programs no one here wrote: h2spec, h2load, curl, and gRPC on both sides of a relay.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import grpc from '@grpc/grpc-js';
import { findProgram, run } from '@isthmus/harness';
import { type Abort, type BodySink, type ClientConnection, type ClientExchange, HTTP_LIMITS, type HeaderList, type ResponseHead, type ResponseSink, type ServerExchange } from '../../libs/dataplane/src/http/exchange.ts';
import { openHttp2 } from '../../libs/dataplane/src/http2/index.ts';
import { echo, startServer, type TestServer } from '../../libs/dataplane/src/http2/testing.ts';
import { Loop } from '../../libs/dataplane/src/transport/linux/loop.ts';
import { linuxTransport } from '../../libs/dataplane/src/transport/linux/transport.ts';
import { portableTransport } from '../../libs/dataplane/src/transport/portable.ts';
import type { Transport } from '../../libs/dataplane/src/transport/transport.ts';

const root = mkdtempSync(join(tmpdir(), 'isthmus-http2-'));
const errors: unknown[] = [];
const loop = process.platform === 'linux' ? new Loop((error) => errors.push(error), { sharesThread: true }) : undefined;
after(() => {
  loop?.close();
  rmSync(root, { recursive: true, force: true });
  assert.deepEqual(errors, []);
});
const transports: readonly Transport[] = [portableTransport(), ...(loop === undefined ? [] : [linuxTransport(loop)])];

const needs = (program: string, pack: string): string | false => (findProgram(program) === undefined ? `${program} is not installed (apt-get install ${pack})` : false);

/** The path of h2spec: installed, or built with Go where its module can be had; a reason otherwise. */
async function h2spec(): Promise<{ readonly path: string } | { readonly reason: string }> {
  const installed = findProgram('h2spec');
  if (installed !== undefined) return { path: installed };
  if (findProgram('go') === undefined) return { reason: 'neither h2spec nor Go is installed' };
  const built = await run('go', ['install', 'github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible'], { env: { GOBIN: root }, limitMs: 120_000 });
  return built.code === 0 ? { path: join(root, 'h2spec') } : { reason: `h2spec could not be built: ${built.stderr.trim().split('\n').at(-1)}` };
}

async function serve(t: TestContext, options: Parameters<typeof startServer>[0]): Promise<TestServer> {
  const server = await startServer(options);
  t.after(() => server.close());
  return server;
}

test('h2spec finds nothing, in its strict form either', { timeout: 200_000 }, async (t) => {
  const spec = await h2spec();
  if ('reason' in spec) return t.skip(spec.reason);
  for (const transport of transports) {
    const server = await serve(t, { transport, onRequest: page });
    const finished = await run(spec.path, ['-h', '127.0.0.1', '-p', String(server.port), '--strict'], { limitMs: 60_000 });
    assert.match(finished.stdout, /\n(\d+) tests, \1 passed, 0 skipped, 0 failed/, `${transport.engine}: ${finished.stdout.slice(finished.stdout.indexOf('Failures'))}`);
  }
});

test('h2load has all its requests answered, on connections with many streams', { skip: needs('h2load', 'nghttp2-client') }, async (t) => {
  for (const transport of transports) {
    const server = await serve(t, { transport, onRequest: echo });
    const finished = await run('h2load', ['-n', '10000', '-c', '10', '-m', '50', `http://127.0.0.1:${server.port}/`], { limitMs: 30_000 });
    assert.match(finished.stdout, /10000 succeeded, 0 failed/);
    assert.deepEqual(server.refusals, []);
  }
});

test('curl uploads five megabytes by prior knowledge and gets them back', { skip: needs('curl', 'curl') }, async (t) => {
  const sent = randomBytes(5_000_000);
  writeFileSync(join(root, 'sent'), sent);
  for (const transport of transports) {
    const server = await serve(t, { transport, onRequest: stream });
    const finished = await run('curl', ['-sS', '--fail', '--http2-prior-knowledge', '--max-time', '20', '--data-binary', `@${join(root, 'sent')}`, '-o', join(root, 'got'), `http://127.0.0.1:${server.port}/`]);
    assert.equal(finished.code, 0, finished.stderr);
    const sum = await run('sha256sum', [join(root, 'got')]);
    assert.equal(sum.stdout.split(' ')[0], createHash('sha256').update(sent).digest('hex'));
  }
});

/** Some body, once the request has ended: h2spec looks at windows, too. */
function page(_head: unknown, exchange: ServerExchange): void {
  exchange.receive({
    data: () => undefined,
    end: () => {
      exchange.respond({ status: 200, headers: ['content-type', 'text/plain'], bodyBytes: 12 }, false);
      exchange.write(Buffer.from('hello, spec\n'));
      exchange.end();
    },
    abort: () => undefined,
  });
}

/** Sends back as it comes, held back by whoever reads. */
function stream(_head: unknown, exchange: ServerExchange): void {
  exchange.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
  exchange.onDrain = () => exchange.resumeBody();
  exchange.receive({
    data: (chunk) => {
      if (!exchange.write(chunk)) exchange.pauseBody();
    },
    end: (trailers) => exchange.end(trailers),
    abort: () => undefined,
  });
}

// gRPC: a client and a server of grpc-js with both of our ends between them.

const bytes = (value: Buffer): Buffer => value;
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({ path, requestStream, responseStream, requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes });
const METHODS = { unary: method('/t.T/Unary', false, false), chat: method('/t.T/Chat', true, true), fail: method('/t.T/Fail', false, false), wait: method('/t.T/Wait', false, false) };

/** One exchange carried on: what comes at one end goes out at the other. */
class Carried implements ResponseSink {
  readonly #server: ServerExchange;
  client: ClientExchange | undefined;

  constructor(server: ServerExchange) {
    this.#server = server;
  }

  inform(head: ResponseHead): void {
    this.#server.inform(head);
  }

  response(head: ResponseHead, endsNow: boolean): void {
    this.#server.respond(head, endsNow);
  }

  switched(head: ResponseHead): void {
    this.#server.switchProtocols(head);
  }

  data(chunk: Buffer): void {
    if (!this.#server.write(chunk)) this.client?.pauseBody();
  }

  end(trailers: HeaderList | undefined): void {
    this.#server.end(trailers);
  }

  abort(why: Abort): void {
    this.#server.abort(why);
  }

  drain(): void {
    this.#server.resumeBody();
  }
}

async function relayTo(t: TestContext, transport: Transport, port: number): Promise<number> {
  const upstream = await transport.dial({ host: '127.0.0.1', port, timeoutMs: 5000, allowHalfOpen: false });
  const connection: ClientConnection = openHttp2(upstream, { limits: HTTP_LIMITS, clock: transport.clock });
  t.after(() => connection.destroy());
  const server = await serve(t, {
    transport,
    onRequest: (head, exchange) => {
      const carried = new Carried(exchange);
      const client = connection.request(head, head.bodyBytes === 0, carried);
      carried.client = client;
      exchange.onAbort = (why) => client.abort(why);
      exchange.onDrain = () => client.resumeBody();
      const body: BodySink = {
        data: (chunk) => {
          if (!client.write(chunk)) exchange.pauseBody();
        },
        end: (trailers) => client.end(trailers),
        abort: (why) => client.abort(why),
      };
      if (head.bodyBytes !== 0) exchange.receive(body);
    },
  });
  return server.port;
}

for (const transport of transports) {
  test(`gRPC through a relay of both ends (${transport.engine}): unary, streams, statuses, metadata, deadlines`, async (t) => {
    let cancelled: () => void = () => undefined;
    const wasCancelled = new Promise<void>((resolve) => (cancelled = resolve));
    const backend = new grpc.Server();
    backend.addService(METHODS, {
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        const trailers = new grpc.Metadata();
        trailers.set('x-echo', call.metadata.get('x-sent')[0] ?? '');
        done(null, call.request, trailers);
      },
      chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (message: Buffer) => call.write(message));
        call.on('end', () => call.end());
      },
      fail: (_call: unknown, done: grpc.sendUnaryData<Buffer>) => done({ code: grpc.status.NOT_FOUND, details: 'no such thing' }),
      wait: (call: grpc.ServerUnaryCall<Buffer, Buffer>) => void call.on('cancelled', () => cancelled()),
    });
    const port = await new Promise<number>((resolve, reject) => backend.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error))));
    t.after(() => backend.forceShutdown());
    const Client = grpc.makeGenericClientConstructor(METHODS, 'T');
    const client = new Client(`127.0.0.1:${await relayTo(t, transport, port)}`, grpc.credentials.createInsecure());
    t.after(() => client.close());
    const call = (path: string, message: Buffer, options: grpc.CallOptions = {}): Promise<{ readonly error: grpc.ServiceError | null; readonly value: Buffer | undefined; readonly trailers: grpc.Metadata }> =>
      new Promise((resolve) => {
        const metadata = new grpc.Metadata();
        metadata.set('x-sent', 'a value');
        let outcome: { readonly error: grpc.ServiceError | null; readonly value: Buffer | undefined };
        const sent = client.makeUnaryRequest(path, bytes, bytes, message, metadata, options, (error, value) => (outcome = { error, value }));
        sent.on('status', (status) => setImmediate(() => resolve({ ...outcome, trailers: status.metadata })));
      });

    const big = randomBytes(1_000_000);
    const unary = await call('/t.T/Unary', big);
    assert.ok(unary.value?.equals(big));
    assert.deepEqual(unary.trailers.get('x-echo'), ['a value']);
    const failed = await call('/t.T/Fail', Buffer.from('x'));
    assert.deepEqual([failed.error?.code, failed.error?.details], [grpc.status.NOT_FOUND, 'no such thing']);
    assert.equal((await call('/t.T/Missing', Buffer.from('x'))).error?.code, grpc.status.UNIMPLEMENTED);
    assert.equal((await call('/t.T/Wait', Buffer.from('x'), { deadline: new Date(Date.now() + 100) })).error?.code, grpc.status.DEADLINE_EXCEEDED);
    await wasCancelled;

    const chat = client.makeBidiStreamRequest('/t.T/Chat', bytes, bytes, new grpc.Metadata());
    const sent = Array.from({ length: 200 }, () => randomBytes(5000));
    for (const message of sent) chat.write(message);
    chat.end();
    const got: Buffer[] = [];
    for await (const message of chat) got.push(message as Buffer);
    assert.ok(Buffer.concat(got).equals(Buffer.concat(sent)));
  });
}
