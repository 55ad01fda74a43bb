// A throw-away embedded store with a client, for tests of whatever stands on the store.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '@isthmus/runtime';
import { type Log, type Metrics, openMetrics, silentLog } from '@isthmus/telemetry';
import { startEmbeddedStore } from './embedded/server.ts';
import { openStore } from './open-store.ts';
import type { Store, StoreLimits, StoreTimes } from './store.ts';

export interface TestStore {
  readonly store: Store;
  /** `http://127.0.0.1:port`, for further clients. */
  readonly endpoint: string;
  /** A further client, closed with the rest. */
  open(over?: { readonly prefix?: string; readonly times?: StoreTimes; readonly limits?: StoreLimits; readonly metrics?: Metrics }): Promise<Store>;
  /** Stops the server and starts it again on the same port and file. */
  restart(): Promise<void>;
  /** Stops the server; `start` brings it back. */
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Starts an embedded store in a temporary directory, without TLS on loopback, and a client of it. Close it at the end of the test. */
export async function openTestStore(over: { readonly clock?: Clock; readonly log?: Log; readonly metrics?: Metrics; readonly times?: StoreTimes } = {}): Promise<TestStore> {
  const directory = await mkdtemp(join(tmpdir(), 'isthmus-store-'));
  const clock = over.clock ?? systemClock;
  const log = over.log ?? silentLog();
  const start = (port: number) => startEmbeddedStore({ path: join(directory, 'store.db'), listen: { host: '127.0.0.1', port }, log, clock });
  let server = await start(0);
  const { port } = server;
  const endpoint = `http://127.0.0.1:${port}`;
  const clients: Store[] = [];
  const open: TestStore['open'] = async (options = {}) => {
    const times = { ...over.times, ...options.times };
    const client = await openStore({ endpoints: [endpoint], log, clock, metrics: over.metrics ?? openMetrics(), ...options, times });
    clients.push(client);
    return client;
  };
  const test: TestStore = {
    store: await open(),
    endpoint,
    open,
    stop: () => server.close(),
    start: async () => {
      server = await start(port);
    },
    restart: async () => {
      await test.stop();
      await test.start();
    },
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return test;
}
