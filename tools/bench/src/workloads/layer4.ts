// Layer 4: server name read, everything passed on untouched.
import { clientHello } from '../load/client-hello.ts';
import { ROOM_FOR_GARBAGE } from '../load/garbage.ts';
import type { SinkKind } from '../load/sink.ts';
import type { BulkArgs, ConnectArgs, Elapsed, IdleArgs, Latency, LatencyArgs, RoundTripArgs } from '../load/source.ts';
import { SERVER_NAME } from '../ours/service.ts';
import { openFilesLimit } from '../system/machine.ts';
import { type Running, startService } from '../system/running.ts';
import { startSni } from './contender.ts';
import type { Bench, Metric, Sample, Setting, Workload } from './workload.ts';

const GB = 1e9;
/** Descriptors a proxy needs besides those of connections, generously. */
const SPARE_FILES = 1_200;

const CPU = (unit: string): Metric => ({ name: 'cpu', unit, better: 'lower' });

type Load = {
  call<Result>(command: string, args: object): Promise<Result>;
  /** Before something is measured in which a collection at either end would show. */
  settle(): Promise<void>;
  readonly hello: string;
};

/** A sink of this kind, a source, and one proxy thread; `sample` puts the load on a port. */
async function open(
  bench: Bench,
  kind: SinkKind,
  rest: { readonly sample: (load: Load, port: number, proxies: readonly Running[]) => Promise<Sample>; readonly threads?: readonly number[] } & Pick<Setting, 'needsNewProcess' | 'notes'>,
  hasDirect = false,
): Promise<Setting> {
  const hello = (await clientHello(SERVER_NAME)).toString('base64');
  const sink = await startService(new URL('../load/sink.ts', import.meta.url), { kind }, ROOM_FOR_GARBAGE);
  const source = await startService(new URL('../load/source.ts', import.meta.url), {}, ROOM_FOR_GARBAGE);
  const load: Load = {
    hello,
    call: (command, args) => source.call(command, args),
    settle: async () => {
      await Promise.all([source.call('collectGarbage', {}), sink.call('collectGarbage', {})]);
    },
  };
  const { sample, threads = [1], ...flags } = rest;
  return {
    ...flags,
    start: async (name) => {
      const started: Running[] = [];
      for (const count of threads) started.push(await startSni(bench, name, { upstreamPort: sink.port, serverName: SERVER_NAME, threads: count }));
      return started;
    },
    sample: (proxies) => sample(load, proxies[0]?.port ?? 0, proxies),
    ...(hasDirect && { direct: () => sample(load, sink.port, []) }),
    stop: async () => {
      await Promise.all([source.stop(), sink.stop()]);
    },
  };
}

/** CPU milliseconds that the proxies used while `work` ran, and what it gave. */
async function during<Result>(proxies: readonly Running[], work: () => Promise<Result>): Promise<{ readonly cpuMs: number; readonly result: Result }> {
  const before = proxies.reduce((sum, proxy) => sum + proxy.cpuMs(), 0);
  const result = await work();
  return { cpuMs: proxies.reduce((sum, proxy) => sum + proxy.cpuMs(), 0) - before, result };
}

async function connectSample(load: Load, proxy: Running, connections: number): Promise<{ readonly cpuUs: number; readonly perSecond: number }> {
  const args: ConnectArgs = { port: proxy.port, hello: load.hello, connections, concurrency: 64 };
  const { cpuMs, result } = await during([proxy], () => load.call<Elapsed>('connect', args));
  return { cpuUs: (cpuMs * 1_000) / connections, perSecond: connections / (result.elapsedMs / 1_000) };
}

const connect: Workload = {
  name: 'l4-connect',
  summary: 'one connection: accept, 517-byte ClientHello, route, connect, 64 bytes back, close',
  metrics: [CPU('µs per connection'), { name: 'throughput', unit: 'connections/s', better: 'higher' }],
  needs: [],
  open: (bench) =>
    open(bench, 'answer', {
      sample: async (load, _port, proxies) => {
        const { cpuUs, perSecond } = await connectSample(load, one(proxies), bench.isQuick ? 500 : 10_000);
        return { cpu: cpuUs, throughput: perSecond };
      },
    }),
};

const bulk: Workload = {
  name: 'l4-bulk',
  summary: '4 GB in one direction over two connections, half-closed at the end, every byte counted at the other end',
  metrics: [CPU('ms per GB'), { name: 'throughput', unit: 'GB/s', better: 'higher' }],
  needs: [],
  open: (bench) =>
    open(bench, 'count', {
      sample: async (load, port, proxies) => {
        const bytes = bench.isQuick ? 0.1 * GB : 4 * GB;
        const args: BulkArgs = { port, hello: load.hello, bytes, connections: 2 };
        const { cpuMs, result } = await during(proxies, () => load.call<Elapsed>('bulk', args));
        return { cpu: cpuMs / (bytes / GB), throughput: bytes / GB / (result.elapsedMs / 1_000) };
      },
    }),
};

const roundTrip: Workload = {
  name: 'l4-round-trip',
  summary: '64 bytes there and back, again and again, on 64 connections',
  metrics: [CPU('µs per round trip'), { name: 'throughput', unit: 'round trips/s', better: 'higher' }],
  needs: [],
  open: (bench) =>
    open(bench, 'echo', {
      sample: async (load, port, proxies) => {
        const trips = bench.isQuick ? 2_000 : 100_000;
        const args: RoundTripArgs = { port, hello: load.hello, connections: 64, trips };
        const { cpuMs, result } = await during(proxies, () => load.call<Elapsed>('roundTrips', args));
        return { cpu: (cpuMs * 1_000) / trips, throughput: trips / (result.elapsedMs / 1_000) };
      },
    }),
};

const latency: Workload = {
  name: 'l4-latency',
  summary: '2,000 connections, 2,000 small round trips a second at a steady rate; what the proxy adds to the same without it',
  metrics: [
    { name: 'added-p50', unit: 'µs', better: 'lower', isAdded: true },
    { name: 'added-p99', unit: 'µs', better: 'lower', isAdded: true },
    { name: 'p50', unit: 'µs, proxy included', better: 'lower' },
    { name: 'p99', unit: 'µs, proxy included', better: 'lower' },
  ],
  needs: [],
  open: (bench) =>
    open(
      bench,
      'echo',
      {
        sample: async (load, port) => {
          await load.call('holdIdle', { port, hello: load.hello, connections: bench.isQuick ? 100 : 2_000 } satisfies IdleArgs);
          await load.settle();
          const { p50Us, p99Us } = await load.call<Latency>('latency', { perSecond: bench.isQuick ? 500 : 2_000, seconds: bench.isQuick ? 0.5 : 5 } satisfies LatencyArgs);
          await load.call('releaseIdle', {});
          return { 'added-p50': p50Us, 'added-p99': p99Us, p50: p50Us, p99: p99Us };
        },
      },
      true,
    ),
};

const idle: Workload = {
  name: 'l4-idle',
  summary: '10,000 connections open after one answer, doing nothing: growth of the proxy’s resident memory for each',
  metrics: [{ name: 'resident', unit: 'KiB per connection', better: 'lower' }],
  needs: [],
  open: (bench) => {
    const wanted = bench.isQuick ? 200 : 10_000;
    const connections = Math.min(wanted, Math.floor((openFilesLimit() - SPARE_FILES) / 2));
    return open(bench, 'echo', {
      needsNewProcess: true,
      ...(connections < wanted && { notes: [`${connections} connections instead of ${wanted}: a process may hold ${openFilesLimit()} descriptors here, and each takes two`] }),
      sample: async (load, port, proxies) => {
        // What the first connections bring in, such as compiled code and buffers of the process, is not theirs.
        await load.call('holdIdle', { port, hello: load.hello, connections: 50 } satisfies IdleArgs);
        await load.call('releaseIdle', {});
        const before = proxies.reduce((sum, proxy) => sum + proxy.residentBytes(), 0);
        await load.call('holdIdle', { port, hello: load.hello, connections } satisfies IdleArgs);
        const after = proxies.reduce((sum, proxy) => sum + proxy.residentBytes(), 0);
        await load.call('releaseIdle', {});
        return { resident: (after - before) / 1_024 / connections };
      },
    });
  },
};

const scaling: Workload = {
  name: 'scaling',
  summary: 'l4-connect with one worker and with two',
  metrics: [
    { name: 'cpu-1', unit: 'µs per connection, one worker', better: 'lower' },
    { name: 'cpu-2', unit: 'µs per connection, two workers', better: 'lower' },
    { name: 'throughput-1', unit: 'connections/s, one worker', better: 'higher' },
    { name: 'throughput-2', unit: 'connections/s, two workers', better: 'higher' },
    { name: 'gain', unit: '× throughput, two workers for one', better: 'higher' },
  ],
  needs: [],
  open: (bench) =>
    open(bench, 'answer', {
      threads: [1, 2],
      sample: async (load, _port, proxies) => {
        const connections = bench.isQuick ? 500 : 10_000;
        const [single, double] = proxies;
        if (single === undefined || double === undefined) throw new Error('scaling takes two proxies');
        const first = await connectSample(load, single, connections);
        const second = await connectSample(load, double, connections);
        return { 'cpu-1': first.cpuUs, 'cpu-2': second.cpuUs, 'throughput-1': first.perSecond, 'throughput-2': second.perSecond, gain: second.perSecond / first.perSecond };
      },
    }),
};

function one(proxies: readonly Running[]): Running {
  const [proxy] = proxies;
  if (proxy === undefined) throw new Error('no proxy was started');
  return proxy;
}

export const LAYER4: readonly Workload[] = [connect, bulk, roundTrip, latency, idle, scaling];
