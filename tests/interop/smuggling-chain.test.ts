// Ambiguous requests through chains of this codec with nginx and HAProxy, in both orders: an origin never sees a request that nobody sent.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HTTP_LIMITS, openHttp1, relayRequest, serveHttp1, SMUGGLING_CASES, type SmugglingCase, TestPool, withTransport } from '@isthmus/dataplane/testing';
import { findProgram, waitFor } from '@isthmus/harness';
import { freePort } from '@isthmus/runtime';

type Seen = { readonly hops: readonly string[]; readonly what: string };

/** A proxy no one here wrote. `config` makes its file; it marks each request with the caller's address and a number of its own. */
type Peer = { readonly program: string; readonly pack: string; readonly args: (file: string, directory: string) => string[]; readonly config: (port: number, next: number, directory: string) => string };

const PEERS: readonly Peer[] = [
  {
    program: 'nginx',
    pack: 'nginx',
    args: (file, directory) => ['-c', file, '-p', directory, '-e', join(directory, 'error.log')],
    config: (port, next, directory) => `daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/error.log;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path ${directory}; proxy_temp_path ${directory}; fastcgi_temp_path ${directory}; uwsgi_temp_path ${directory}; scgi_temp_path ${directory};
  ignore_invalid_headers off; underscores_in_headers on; large_client_header_buffers 8 64k;
  client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 1s; lingering_time 1s; lingering_timeout 1s;
  upstream next { server 127.0.0.1:${next}; keepalive 4; }
  server { listen 127.0.0.1:${port} default_server;
    location / { proxy_pass http://next; proxy_http_version 1.1; proxy_request_buffering off; proxy_read_timeout 3s;
      proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Hop-Peer "$remote_addr-$request_id"; } }
}`,
  },
  {
    program: 'haproxy',
    pack: 'haproxy',
    args: (file) => ['-db', '-f', file],
    config: (port, next) => `global
  maxconn 512
defaults
  mode http
  timeout connect 2s
  timeout client 2s
  timeout server 3s
  timeout http-request 2s
  timeout http-keep-alive 1s
  option accept-invalid-http-request
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  http-request set-header X-Hop-Peer "%[src]-%[uuid()]"
  default_backend next
backend next
  server next 127.0.0.1:${next}
`,
  },
];

const children: ChildProcess[] = [];
const directories: string[] = [];
let origin: Server;
let seen: Seen[] = [];

before(async () => {
  origin = createServer((request, response) => {
    const body: Buffer[] = [];
    request.on('data', (chunk: Buffer) => void body.push(chunk));
    request.on('end', () => {
      const hops = request.rawHeaders.filter((_, i) => i % 2 === 1 && /^x-hop/i.test(request.rawHeaders[i - 1] ?? ''));
      seen.push({ hops, what: `${request.method} ${request.url} ${Buffer.concat(body).toString('latin1')}` });
      response.end('seen');
    });
  });
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
});

after(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  origin.closeAllConnections();
  origin.close();
});

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;

async function startPeer(peer: Peer, next: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-chain-'));
  directories.push(directory);
  const port = await freePort();
  const file = join(directory, 'config');
  writeFileSync(file, peer.config(port, next, directory));
  const child = spawn(peer.program, peer.args(file, directory), { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += String(chunk)));
  await waitFor(`${peer.program} listens`, 5_000, () => {
    assert.equal(child.exitCode, null, said);
    return new Promise<true | undefined>((resolve) => {
      const probe = connect(port, '127.0.0.1', () => {
        probe.destroy();
        resolve(true);
      });
      probe.on('error', () => resolve(undefined));
    });
  });
  return port;
}

/** This codec's server and client ends with nothing between. Marks each request with the caller's address and a number. */
async function withRelay(next: number, run: (port: number) => Promise<void>): Promise<void> {
  await withTransport('portable', async (transport) => {
    const { clock } = transport;
    const pool = new TestPool(async () => openHttp1(await transport.dial({ host: '127.0.0.1', port: next, timeoutMs: 2_000, allowHalfOpen: true }), { limits: HTTP_LIMITS, clock }));
    let number = 0;
    const listener = await transport.listen({ listen: { host: '127.0.0.1', port: 0 }, label: 'relay', allowHalfOpen: true, connections: 500 }, (stream) => {
      serveHttp1(stream, {
        limits: HTTP_LIMITS,
        peer: stream.remoteAddress,
        scheme: 'http',
        clock,
        reset: (s) => transport.reset(s),
        handlers: {
          onRequest: (head, exchange) => relayRequest({ ...head, headers: [...head.headers, 'x-hop-relay', `${String(exchange.peer)}-${number++}`] }, exchange, pool),
          onRefused: () => undefined,
        },
      });
    });
    try {
      await run(listener.port);
    } finally {
      listener.close();
      for (const stream of listener.open) stream.destroy();
      pool.close();
    }
  });
}

/** Another proxy in front may write a target anew; method and body stay. */
function withTarget(what: string, keeps: boolean): string {
  return keeps ? what : what.replace(/ [^ ]+ /, ' ');
}

const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: s.example\r\nConnection: close\r\n\r\n';

/** Each case has an address of its own on loopback to come from: ports are used again, and by the hop after. */
const addressOf = (index: number): string => `127.66.${Math.floor(index / 200)}.${1 + (index % 200)}`;

/** Sends one case from `localAddress` and waits until the connection has ended. */
function send(port: number, localAddress: string, one: SmugglingCase): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress, allowHalfOpen: one.incomplete !== true });
    socket.on('connect', () => {
      socket.write(Buffer.from(one.bytes + (one.refused === undefined && one.incomplete !== true ? SENTINEL : ''), 'latin1'));
    });
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.on('data', () => undefined);
    socket.setTimeout(4_000, () => socket.destroy());
    socket.on('close', () => resolve());
  });
}

/**
 * Sends all cases, 32 at a time. The case that a request at the origin came from is told by its first hop's mark; a
 * request without the marks of both hops is one that a hop did not see. `isFirst`: this codec is the first hop.
 */
async function checkAll(port: number, isFirst: boolean): Promise<void> {
  const callers = new Map(SMUGGLING_CASES.map((one, i) => [addressOf(i), one]));
  seen = [];
  const left = [...callers];
  await Promise.all(Array.from({ length: 32 }, async () => {
    for (let next = left.pop(); next !== undefined; next = left.pop()) await send(port, ...next);
  }));
  const all = new Set<string>();
  const byCase = new Map<SmugglingCase, string[]>();
  for (const { hops, what } of seen) {
    assert.equal(hops.length, 2, `a request that a hop did not see: ${what}`);
    for (const hop of hops) {
      assert.ok(!all.has(hop), `two requests where one was sent: ${what}`);
      all.add(hop);
    }
    const one = hops.map((hop) => callers.get(hop.split('-')[0] ?? '')).find((found) => found !== undefined);
    assert.ok(one !== undefined, what);
    byCase.set(one, [...(byCase.get(one) ?? []), what]);
  }
  let passed = 0;
  for (const [one, whats] of byCase) {
    passed += whats.length;
    const isGood = one.refused === undefined && one.incomplete !== true;
    // What another proxy in front mends before it sends it on is that proxy's reading, and one request each.
    if (!isGood && !isFirst) continue;
    const expected = isGood ? [...one.requests, 'GET /sentinel '] : one.requests;
    const known = new Set(expected.map((what) => withTarget(what, isFirst)));
    for (const what of whats) assert.ok(known.has(withTarget(what, isFirst)), `${one.name}: the origin saw ${JSON.stringify(what)}`);
    assert.ok(whats.length <= expected.length, one.name);
  }
  assert.ok(passed > 20, `only ${passed} requests came through: the chain does not work`);
}

for (const peer of PEERS) {
  const skip = findProgram(peer.program) === undefined ? `${peer.program} is not installed (apt-get install ${peer.pack})` : false;

  test(`${peer.program} before this codec: the origin sees no request that ${peer.program} did not see, and no other body`, { skip, timeout: 90_000 }, async () => {
    await withRelay(portOf(origin), async (relay) => checkAll(await startPeer(peer, relay), false));
  });

  test(`this codec before ${peer.program}: the origin sees what was accepted here, and nothing else`, { skip, timeout: 90_000 }, async () => {
    const next = await startPeer(peer, portOf(origin));
    await withRelay(next, async (relay) => checkAll(relay, true));
  });
}
