// Layer 7: HTTP/1.1, HTTP/2 and gRPC through one proxy or a pair, with mutual TLS on the mesh's side; and TLS handshakes.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '@isthmus/runtime';
import { h2load, handshakes, type Load, wrk } from '../load/generators.ts';
import type { ShortConnections, ShortResult } from '../load/tls-source.ts';
import { startBackend, startPeer } from '../peers/launch.ts';
import type { Program, ProgramName } from '../peers/find-program.ts';
import type { MutualTls } from '../peers/proxy-spec.ts';
import { LAYER7_NAME, SERVER_NAME } from '../ours/service.ts';
import { type BundleFile, issueIdentities } from '../system/identity.ts';
import { type Running, startService } from '../system/running.ts';
import { startHttp } from './contender.ts';
import type { Bench, Metric, Workload } from './workload.ts';

/** A gRPC message: not compressed, its length, so many bytes. */
function grpcMessage(bytes: number): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes, 1);
  return Buffer.concat([prefix, Buffer.alloc(bytes, 'g')]);
}

const STREAM_MESSAGES = 1_000;
const FILES: Readonly<Record<string, Buffer>> = {
  'small': Buffer.alloc(128, 's'),
  'grpc/unary': grpcMessage(128),
  'grpc/stream': Buffer.concat(Array.from({ length: STREAM_MESSAGES }, () => grpcMessage(1_024))),
};

const REQUEST_METRICS: readonly Metric[] = [
  { name: 'cpu', unit: 'µs per request', better: 'lower' },
  { name: 'throughput', unit: 'requests/s', better: 'higher' },
];

/** Which side speaks mutual TLS. `pair`: two proxies in a row, plain, mutual TLS between them, plain. `both`: a gateway that ends TLS. `handshakes`: as `in`, straight from the client. */
type Path = 'plain' | 'out' | 'in' | 'pair' | 'both' | 'handshakes';

type Shape = { readonly version: '1.1' | '2'; readonly path: Path; readonly load: (bench: Bench, port: number, mesh: BundleFile) => Promise<Load>; readonly perRequest?: number };

async function open(bench: Bench, { version, path, load, perRequest = 1 }: Shape) {
  const nginx = programOf(bench, 'nginx');
  const mesh = issueIdentities(join(bench.scratch, 'identities'));
  const isTlsBackend = path === 'out' || path === 'both';
  const backend = await startBackend(nginx, { listenPort: await freePort(), version, files: FILES, ...(isTlsBackend && { tls: mesh.service }) }, bench.scratch);
  const others: Running[] = [backend];
  const http = { version, threads: 1 } as const;
  return {
    mesh,
    start: async (name: Parameters<typeof startHttp>[1]) => {
      const dial: { readonly dial: MutualTls } = { dial: mesh.caller };
      const accept: { readonly accept: MutualTls } = { accept: mesh.service };
      if (path === 'plain') return [await startHttp(bench, name, { ...http, upstreamPort: backend.port }, mesh)];
      if (path === 'out') return [await startHttp(bench, name, { ...http, upstreamPort: backend.port, ...dial }, mesh)];
      if (path === 'both') return [await startHttp(bench, name, { ...http, upstreamPort: backend.port, accept: mesh.gateway, dial: { ...mesh.gateway, peerName: SERVER_NAME } }, mesh)];
      const inbound = await startHttp(bench, name, { ...http, upstreamPort: backend.port, ...accept }, mesh);
      return path !== 'pair' ? [inbound] : [await startHttp(bench, name, { ...http, upstreamPort: inbound.port, ...dial }, mesh), inbound];
    },
    sample: async (proxies: readonly Running[]) => {
      // No generator here shows a client certificate: an nginx that is not measured does it for wrk.
      const shown = path === 'in' ? mesh.caller : path === 'both' ? { ...mesh.caller, peerName: LAYER7_NAME } : undefined;
      const shaper = shown === undefined ? undefined : await startPeer(nginx, { kind: 'http', ...http, listenPort: await freePort(), upstreamPort: portOf(proxies), dial: shown }, bench.scratch);
      try {
        return await measured(proxies, () => load(bench, shaper?.port ?? portOf(proxies), mesh), perRequest);
      } finally {
        await shaper?.stop();
      }
    },
    stop: async () => {
      await Promise.all(others.map((other) => other.stop()));
    },
  };
}

async function measured(proxies: readonly Running[], work: () => Promise<Load>, perRequest: number) {
  const cpuMs = (): number => proxies.reduce((sum, proxy) => sum + proxy.cpuMs(), 0);
  const before = cpuMs();
  const { count, elapsedMs } = await work();
  const units = count * perRequest;
  return { cpu: ((cpuMs() - before) * 1_000) / units, throughput: units / (elapsedMs / 1_000) };
}

const withWrk = (bench: Bench, port: number): Promise<Load> => wrk(programOf(bench, 'wrk').path, { port, connections: 32, seconds: bench.isQuick ? 1 : 5 });

function withH2load(uri: string, requests: number, message?: Buffer) {
  return (bench: Bench, port: number): Promise<Load> => {
    const count = bench.isQuick ? Math.ceil(requests / 100) : requests;
    const data = join(bench.scratch, 'grpc-request');
    if (message !== undefined) writeFileSync(data, message);
    return h2load(programOf(bench, 'h2load').path, { port, uri, requests: count, connections: 8, streams: Math.min(16, Math.ceil(count / 8)), ...(message !== undefined && { data }) });
  };
}

const http1 = (name: string, path: Path, summary: string): Workload => ({
  name,
  summary: `HTTP/1.1 keep-alive, 32 connections, 128-byte answers: ${summary}`,
  metrics: REQUEST_METRICS,
  needs: ['nginx', 'wrk'],
  open: (bench) => open(bench, { version: '1.1', path, load: withWrk }),
});

const tlsHandshakes: Workload = {
  name: 'tls-handshakes',
  summary: 'full TLS 1.3 handshakes with client certificates at a proxy that accepts mutual TLS, one client after the other in two processes',
  metrics: [
    { name: 'cpu', unit: 'µs per handshake', better: 'lower' },
    { name: 'throughput', unit: 'handshakes/s', better: 'higher' },
  ],
  needs: ['nginx', 'openssl'],
  open: (bench) =>
    open(bench, {
      version: '1.1',
      path: 'handshakes',
      load: (_bench, port, { caller }) => handshakes(programOf(bench, 'openssl').path, { ...caller, port, seconds: bench.isQuick ? 1 : 4, clients: 2 }),
    }),
};

/** Whole connections of one request each: what taking up a session saves, beside the same without. */
const tlsResumed: Workload = {
  name: 'tls-resumed',
  summary: 'connections with one request each, mutual TLS 1.3, the session of the first one resumed; and the same with full handshakes',
  metrics: [
    { name: 'cpu', unit: 'µs per resumed connection', better: 'lower' },
    { name: 'cpu-full', unit: 'µs per full connection', better: 'lower' },
  ],
  needs: ['nginx'],
  open: async (bench) => {
    const source = await startService(new URL('../load/tls-source.ts', import.meta.url), {});
    const count = bench.isQuick ? 100 : 1_000;
    const load = (isResumed: boolean) => async (port: number, { certFile, keyFile }: MutualTls): Promise<Load> => {
      const args: ShortConnections = { port, serverName: SERVER_NAME, certFile, keyFile, count, concurrency: 8, isResumed };
      const { elapsedMs, resumed } = await source.call<ShortResult>('connections', args);
      if (isResumed && resumed < count * 0.95) throw new Error(`of ${count} connections ${resumed} were resumed`);
      return { count, elapsedMs };
    };
    const setting = await open(bench, { version: '1.1', path: 'handshakes', load: (_bench, port, { caller }) => load(true)(port, caller) });
    const { caller } = setting.mesh;
    return {
      ...setting,
      sample: async (proxies) => {
        const { cpu } = await measured(proxies, () => load(true)(portOf(proxies), caller), 1);
        const full = await measured(proxies, () => load(false)(portOf(proxies), caller), 1);
        return { cpu, 'cpu-full': full.cpu };
      },
      stop: async () => void (await Promise.all([setting.stop(), source.stop()])),
    };
  },
};

export const LAYER7: readonly Workload[] = [
  http1('http1-plain', 'plain', 'plain in, plain out'),
  http1('http1-mtls-out', 'out', 'plain in, mutual TLS out'),
  http1('http1-mtls-in', 'in', 'mutual TLS in, plain out'),
  http1('http1-mtls-pair', 'pair', 'two proxies in a row with mutual TLS between them, CPU of both'),
  {
    name: 'http2',
    summary: 'HTTP/2, 8 connections of 16 streams, 128-byte answers: h2c in, mutual TLS out',
    metrics: REQUEST_METRICS,
    needs: ['nginx', 'h2load'],
    open: (bench) => open(bench, { version: '2', path: 'out', load: withH2load('/small', 60_000) }),
  },
  {
    name: 'grpc-unary',
    summary: 'gRPC unary calls, 128 bytes each way, 8 connections of 16 streams: h2c in, mutual TLS out',
    metrics: REQUEST_METRICS,
    needs: ['nginx', 'h2load'],
    open: (bench) => open(bench, { version: '2', path: 'out', load: withH2load('/grpc/unary', 60_000, grpcMessage(128)) }),
  },
  {
    name: 'grpc-streaming',
    summary: 'gRPC calls with 1,000 messages of 1 KiB each in the answer, 8 connections of 16 streams: h2c in, mutual TLS out',
    metrics: [
      { name: 'cpu', unit: 'µs per message', better: 'lower' },
      { name: 'throughput', unit: 'messages/s', better: 'higher' },
    ],
    needs: ['nginx', 'h2load'],
    open: (bench) => open(bench, { version: '2', path: 'out', load: withH2load('/grpc/stream', 2_000, grpcMessage(128)), perRequest: STREAM_MESSAGES }),
  },
  http1('l7-gateway', 'both', 'a gateway that ends TLS: mutual TLS in, mutual TLS out'),
  tlsHandshakes,
  tlsResumed,
];

function portOf(proxies: readonly Running[]): number {
  return proxies[0]?.port ?? 0;
}

function programOf(bench: Bench, name: ProgramName): Program {
  const program = bench.programs.get(name);
  if (program === undefined) throw new Error(`${name} is not installed`);
  return program;
}
