// The client before the proxies: connections, bulk, round trips and idle connections, each after a ClientHello. A process of its own.
import { connect, type Socket } from 'node:net';
import { percentile } from '../statistics.ts';
import { serveCommands } from '../system/serve.ts';
import { collectGarbage } from './garbage.ts';

type Target = { readonly port: number; readonly hello: string };
export type ConnectArgs = Target & { readonly connections: number; readonly concurrency: number };
export type BulkArgs = Target & { readonly bytes: number; readonly connections: number };
export type RoundTripArgs = Target & { readonly connections: number; readonly trips: number };
/** Over the connections held. */
export type LatencyArgs = { readonly perSecond: number; readonly seconds: number };
export type IdleArgs = Target & { readonly connections: number };
export type Elapsed = { readonly elapsedMs: number };
export type Latency = { readonly p50Us: number; readonly p99Us: number; readonly trips: number };

const ANSWER_BYTES = 64;
const MESSAGE = Buffer.alloc(64, 'm');
const BULK_CHUNK = Buffer.alloc(262_144, 'b');
const OPENING_CONCURRENCY = 64;

const idle = new Set<Socket>();

/** `count` times `one`, at most `concurrency` of them at a time. */
async function repeat(count: number, concurrency: number, one: () => Promise<unknown>): Promise<Elapsed> {
  const startedMs = performance.now();
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await one();
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  return { elapsedMs: performance.now() - startedMs };
}

function oneConnection(port: number, hello: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    socket.once('error', reject);
    socket.once('close', () => (bytes === ANSWER_BYTES ? resolve() : reject(new Error(`the backend's ${ANSWER_BYTES} bytes did not come back: ${bytes} did`))));
    socket.write(hello);
  });
}

/** A connection whose hello has reached the backend: its 64 bytes came back. */
function opened(port: number, hello: Buffer): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const early = (): void => reject(new Error('the connection was closed before the hello was answered'));
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes < ANSWER_BYTES) return;
      socket.off('data', onData).off('close', early);
      resolve(socket);
    };
    socket.on('data', onData).once('close', early).on('error', reject);
    socket.write(hello);
  });
}

async function openMany(port: number, hello: Buffer, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  await repeat(count, OPENING_CONCURRENCY, async () => sockets.push(await opened(port, hello)));
  return sockets;
}

/** Sends `bytes` after the hello and half-closes; the sink then says how many arrived. */
function oneBulk(port: number, hello: Buffer, bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let answer = '';
    let left = bytes;
    const pump = (): void => {
      while (left > 0) {
        const chunk = left >= BULK_CHUNK.length ? BULK_CHUNK : BULK_CHUNK.subarray(0, left);
        left -= chunk.length;
        if (!socket.write(chunk)) return;
      }
      socket.off('drain', pump);
      socket.end();
    };
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.once('error', reject);
    socket.once('close', () => (answer === String(bytes) ? resolve() : reject(new Error(`of ${bytes} bytes the backend got ${answer}`))));
    socket.on('drain', pump);
    socket.write(hello);
    pump();
  });
}

async function roundTrips({ port, hello, connections, trips }: RoundTripArgs): Promise<Elapsed> {
  const sockets = await openMany(port, Buffer.from(hello, 'base64'), connections);
  const startedMs = performance.now();
  let left = trips;
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          let bytes = 0;
          const send = (): void => {
            if (left <= 0) return resolve();
            left -= 1;
            socket.write(MESSAGE);
          };
          socket.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes < MESSAGE.length) return;
            bytes = 0;
            send();
          });
          send();
        }),
    ),
  );
  const elapsedMs = performance.now() - startedMs;
  for (const socket of sockets) socket.destroy();
  return { elapsedMs };
}

/**
 * Sends at a steady rate over all the connections in turn, whether or not answers are late: a slow proxy does not slow the load.
 * What each connection says first is not counted.
 */
async function latency({ perSecond, seconds }: LatencyArgs): Promise<Latency> {
  const sockets = [...idle];
  const connections = sockets.length;
  const sentMs = Float64Array.from({ length: connections }, () => 0);
  const latenciesUs: number[] = [];
  const spoke = new Uint8Array(connections);
  sockets.forEach((socket, index) => {
    socket.on('data', () => {
      if (spoke[index] === 1) latenciesUs.push((performance.now() - (sentMs[index] ?? 0)) * 1_000);
      spoke[index] = 1;
      sentMs[index] = 0;
    });
  });
  const firstMs = (connections / perSecond) * 1_000;
  const startedMs = performance.now();
  let sent = 0;
  await new Promise<void>((resolve) => {
    const ticks = setInterval(() => {
      const elapsedMs = performance.now() - startedMs;
      for (const due = Math.floor((elapsedMs * perSecond) / 1_000); sent < due; sent++) {
        const index = sent % connections;
        if (sentMs[index] !== 0) continue; // not answered since its last turn; the wait is counted when it is
        sentMs[index] = performance.now();
        sockets[index]?.write(MESSAGE);
      }
      if (elapsedMs < firstMs + seconds * 1_000) return;
      clearInterval(ticks);
      setTimeout(resolve, 200); // what is on its way
    }, 1);
  });
  return { p50Us: percentile(latenciesUs, 0.5), p99Us: percentile(latenciesUs, 0.99), trips: latenciesUs.length };
}

serveCommands({
  start: () => ({ port: 0 }),
  connect: ({ port, hello, connections, concurrency }: ConnectArgs) => {
    const bytes = Buffer.from(hello, 'base64');
    return repeat(connections, concurrency, () => oneConnection(port, bytes));
  },
  bulk: ({ port, hello, bytes, connections }: BulkArgs) => {
    const first = Buffer.from(hello, 'base64');
    return repeat(connections, connections, () => oneBulk(port, first, Math.floor(bytes / connections)));
  },
  roundTrips,
  latency,
  collectGarbage,
  holdIdle: async ({ port, hello, connections }: IdleArgs) => {
    for (const socket of await openMany(port, Buffer.from(hello, 'base64'), connections)) idle.add(socket);
    return idle.size;
  },
  releaseIdle: () => {
    for (const socket of idle) socket.destroy();
    idle.clear();
  },
});
