import assert from 'node:assert/strict';
import { type AddressInfo, connect as tcpConnect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { connect, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { Endpoint, TrustDomain } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { svidToPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { freePort } from '@isthmus/runtime';
import { type Metrics, openMetrics, silentLog } from '@isthmus/telemetry';
import type { EngineKind } from '../engine/engine.ts';
import { availableEngines, TestSnapshots } from '../engine/testing.ts';
import { type EastWest, type EastWestOptions, startEastWest } from './east-west.ts';

const TD = 'east.acme.example' as TrustDomain;
const NAME = 'http.payments.shop.svc.east.acme.example';
const pem = svidToPem(testAuthority().issue('spiffe://east.acme.example/ns/shop/svc/payments'));

function snapshotsOf(endpoints: readonly Endpoint[]): TestSnapshots {
  return new TestSnapshots(aServiceView({ endpoints: [...endpoints] }), aServiceView({ name: 'vault', exported: false, endpoints: [...endpoints] }));
}

const at = (port: number, id = `east/${port}`): Endpoint => anEndpoint({ id, host: '127.0.0.1', ports: { http: port } });

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

type Setting = { readonly gateway: EastWest; readonly metrics: Metrics; readonly accepted: () => number };

/** A gateway in front of one TLS backend. */
async function withGateway(engine: EngineKind, onBackend: (socket: TLSSocket) => void, over: (port: number) => Partial<EastWestOptions>, use: (s: Setting) => Promise<void>): Promise<void> {
  let accepted = 0;
  const backend = createTlsServer({ cert: pem.certPem, key: pem.keyPem, allowHalfOpen: true }, onBackend);
  backend.on('connection', () => (accepted += 1)).on('tlsClientError', () => undefined);
  const port = await listen(backend);
  const metrics = openMetrics();
  const gateway = await startEastWest({ listen: { host: '127.0.0.1', port: 0 }, engine, workers: 1, snapshots: snapshotsOf([at(port)]), trustDomain: TD, reserved: {}, log: silentLog(), metrics, ...over(port) });
  try {
    await use({ gateway, metrics, accepted: () => accepted });
  } finally {
    await gateway.close();
    backend.close();
  }
}

const engines = await availableEngines();
function onEachEngine(name: string, run: (engine: EngineKind) => Promise<void>): void {
  for (const engine of engines) test(`${engine}: ${name}`, () => run(engine));
}

/** Metrics come once a second. */
async function counted(metrics: Metrics, pattern: RegExp): Promise<void> {
  const end = performance.now() + 5_000;
  for (let text = await metrics.text(); !pattern.test(text); text = await metrics.text()) {
    if (performance.now() > end) assert.match(text, pattern);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const plainly = (): Partial<EastWestOptions> => ({});

function dial(port: number, servername: string | undefined, options: object = {}): TLSSocket {
  return connect({ port, host: '127.0.0.1', ...(servername !== undefined && { servername }), rejectUnauthorized: false, ...options });
}

function outcome(socket: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('secureConnect', () => resolve('connected'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.once('close', () => resolve('closed'));
  });
}

/** `connected`, or the code of the error. The connection is closed again. */
function connecting(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = tcpConnect(port, '127.0.0.1');
    socket.once('connect', () => resolve('connected')).once('error', (error: NodeJS.ErrnoException) => resolve(error.code)).once('connect', () => socket.destroy());
  });
}

/** Everything up to the end of that direction; the socket stays open for writing, which iterating over it would not leave. */
function all(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).once('error', reject).once('end', () => resolve(Buffer.concat(chunks).toString()));
  });
}

onEachEngine('an exported name is relayed with TLS whole: the client sees the backend’s own certificate', (engine) =>
  withGateway(engine, (s) => s.end('hello'), plainly, async ({ gateway }) => {
    const client = dial(gateway.port, NAME);
    assert.equal(await outcome(client), 'connected');
    assert.match(client.getPeerCertificate().subjectaltname ?? '', /svc\/payments/);
    assert.equal(await all(client), 'hello');
  }));

for (const [what, name, reason] of [
  ['a service that is not exported', 'http.vault.shop.svc.east.acme.example', 'not-exported'],
  ['an unknown service', 'http.other.shop.svc.east.acme.example', 'unknown-name'],
  ['another cluster’s service', 'http.payments.shop.svc.west.acme.example', 'not-ours'],
  ['a reserved name without an address', 'store.isthmus.east.acme.example', 'unknown-name'],
  ['a connection without a name', undefined, 'no-sni'],
] as const) {
  onEachEngine(`refuses ${what} with unrecognized_name, a metric, and nothing dialled`, (engine) =>
    withGateway(engine, (s) => s.end('hello'), plainly, async ({ gateway, metrics, accepted }) => {
      assert.equal(await outcome(dial(gateway.port, name)), 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME');
      assert.equal(accepted(), 0);
      await counted(metrics, new RegExp(`isthmus_gateway_refused_total\\{reason="${reason}"\\} 1`));
    }));
}

for (const [what, bytes, reason] of [
  ['plain HTTP', 'GET / HTTP/1.1\r\n\r\n', 'not-tls'],
  ['a PROXY header', 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n', 'not-tls'],
] as const) {
  onEachEngine(`closes on ${what} at once`, (engine) =>
    withGateway(engine, () => undefined, plainly, async ({ gateway, metrics }) => {
      const client = tcpConnect(gateway.port, '127.0.0.1', () => client.write(bytes));
      client.on('error', () => undefined);
      await new Promise((resolve) => client.once('close', resolve));
      await counted(metrics, new RegExp(`isthmus_gateway_refused_total\\{reason="${reason}"\\} 1`));
    }));
}

onEachEngine('a client that does not finish its hello is closed after the limit', (engine) =>
  withGateway(engine, () => undefined, () => ({ limits: { helloMs: 50 } }), async ({ gateway, metrics }) => {
    const client = tcpConnect(gateway.port, '127.0.0.1', () => client.write(Buffer.from([22, 3, 1])));
    client.on('error', () => undefined);
    await new Promise((resolve) => client.once('close', resolve));
    await counted(metrics, /reason="hello-timeout"\} 1/);
  }));

onEachEngine('more unfinished hellos than the limit are refused, finished ones are served', (engine) =>
  withGateway(engine, (s) => s.end('hello'), () => ({ limits: { hellos: 1 } }), async ({ gateway }) => {
    const slow = tcpConnect(gateway.port, '127.0.0.1');
    await new Promise<void>((resolve) => slow.once('connect', () => slow.write(Buffer.from([22]), () => resolve())));
    await until(() => gateway.connections === 1);
    assert.notEqual(await outcome(dial(gateway.port, NAME)), 'connected');
    slow.destroy();
    await until(() => gateway.connections === 0);
    assert.equal(await outcome(dial(gateway.port, NAME)), 'connected');
  }));

onEachEngine('a dead endpoint is passed over: nothing was sent yet', async (engine) => {
  const deadPort = await freePort();
  await withGateway(engine, (s) => s.end('hello'), (port) => ({ snapshots: snapshotsOf([at(deadPort, 'east/dead'), at(port)]), random: () => 0 }), async ({ gateway }) => {
    const client = dial(gateway.port, NAME);
    assert.equal(await all(client), 'hello');
  });
});

onEachEngine('an endpoint behind another gateway is never dialled, not even when no local one is left to try: no loops (row 74)', async (engine) => {
  const deadPort = await freePort();
  await withGateway(
    engine,
    (s) => s.end('away'),
    (port) => ({ snapshots: snapshotsOf([at(deadPort, 'east/dead'), { ...at(port, 'west/gateway'), tier: 1, viaGateway: true }]) }),
    async ({ gateway, accepted }) => {
      assert.notEqual(await outcome(dial(gateway.port, NAME)), 'connected');
      assert.equal(accepted(), 0);
    },
  );
});

onEachEngine('an end in one direction leaves the other open (half-close)', (engine) =>
  withGateway(
    engine,
    (s) => {
      void all(s).then((text) => s.end(`got ${text}`));
    },
    plainly,
    async ({ gateway }) => {
      const client = dial(gateway.port, NAME, { allowHalfOpen: true });
      await outcome(client);
      client.end('everything');
      assert.equal(await all(client), 'got everything');
    },
  ));

onEachEngine('a reset on one side is a reset on the other, never a clean end', async (engine) => {
  const raw = createServer((s) => s.once('data', () => s.resetAndDestroy()));
  const port = await listen(raw);
  await withGateway(engine, () => undefined, () => ({ snapshots: snapshotsOf([at(port)]) }), async ({ gateway }) => {
    assert.equal(await outcome(dial(gateway.port, NAME)), 'ECONNRESET');
  });
  raw.close();
});

onEachEngine('64 MiB through a slow reader arrive whole, and the gateway buffers little of them', (engine) => {
  const size = 64 * 1024 * 1024;
  return withGateway(
    engine,
    (s) => {
      s.on('error', () => undefined);
      s.write(Buffer.alloc(size, 1));
      s.end();
    },
    plainly,
    async ({ gateway }) => {
      const client = dial(gateway.port, NAME);
      let received = 0;
      for await (const chunk of client) {
        received += (chunk as Buffer).length;
        if (received % (1024 * 1024) < 16_384) await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(received, size);
    },
  );
});

onEachEngine('closing drains: open connections finish, new ones are not taken', (engine) =>
  withGateway(
    engine,
    (s) => {
      s.once('data', () => s.end('late answer'));
    },
    plainly,
    async ({ gateway }) => {
      const client = dial(gateway.port, NAME);
      await outcome(client);
      const closing = gateway.close({ drainMs: 5_000 });
      while ((await connecting(gateway.port)) !== 'ECONNREFUSED');
      client.write('now');
      assert.equal(await all(client), 'late answer');
      await closing;
      assert.equal(gateway.connections, 0);
    },
  ));

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 5_000;
  while (!holds()) {
    assert.ok(performance.now() < end, 'the condition did not come');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a range that is none is refused before anything is opened', async () => {
  const snapshots = snapshotsOf([]);
  for (const range of ['10.0.0.0', '10.0.0.0/33', 'fe80::1%eth0/64']) {
    const started = startEastWest({ listen: { host: '127.0.0.1', port: 0 }, snapshots, trustDomain: TD, reserved: {}, proxyProtocol: { acceptFrom: [range] }, log: silentLog(), metrics: openMetrics() });
    await assert.rejects(started, { code: 'DATAPLANE_BAD_RANGE' });
  }
});
