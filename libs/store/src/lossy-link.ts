// For tests: a TCP link that can be cut or can fall silent, and a watch written down as it is told.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { PeerStore, WatchEvent } from './store.ts';

const LIMIT_MS = 60_000;

/** Waits until a condition holds; fails after a minute and says what was waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export interface LossyLink {
  readonly endpoint: string;
  /** Closes what is open and refuses what comes. */
  cut(): void;
  /** Keeps everything open and passes nothing on, in either direction. */
  stall(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function openLossyLink(targetEndpoint: string): Promise<LossyLink> {
  const { hostname, port } = new URL(targetEndpoint);
  const pairs = new Set<readonly [Socket, Socket]>();
  let mode: 'pass' | 'stall' | 'cut' = 'pass';
  const server = createServer((near) => {
    if (mode === 'cut') {
      near.destroy();
      return;
    }
    const far = connect(Number(port), hostname);
    const pair = [near, far] as const;
    pairs.add(pair);
    const end = (): void => {
      near.destroy();
      far.destroy();
      pairs.delete(pair);
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    // While stalled, bytes are lost for good: such a connection never works again.
    near.on('data', (bytes) => mode === 'pass' && far.write(bytes));
    far.on('data', (bytes) => mode === 'pass' && near.write(bytes));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const drop = (): void => {
    for (const [near, far] of pairs) {
      near.destroy();
      far.destroy();
    }
  };
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => {
      mode = 'cut';
      drop();
    },
    stall: () => {
      mode = 'stall';
    },
    mend: () => {
      mode = 'pass';
    },
    close: async () => {
      drop();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A watch that is written down, with the state of the keys it tells of. */
export function follow(store: Pick<PeerStore, 'watch'>, prefix: string) {
  const abort = new AbortController();
  const told: string[] = [];
  const state = new Map<string, string>();
  const take = (event: WatchEvent): void => {
    switch (event.kind) {
      case 'snapshot':
        told.push(`snapshot ${event.reason}`);
        state.clear();
        for (const entry of event.entries) state.set(entry.key, entry.value.toString());
        break;
      case 'put':
        told.push(`put ${event.key}=${event.value}`);
        state.set(event.key, event.value.toString());
        break;
      case 'delete':
        told.push(`delete ${event.key}`);
        state.delete(event.key);
        break;
      default:
        told.push(event.kind);
    }
  };
  const run = (async () => {
    for await (const event of store.watch(prefix, { signal: abort.signal })) take(event);
  })();
  return {
    told,
    state,
    /** Settles when the watch does. */
    ended: run,
    stop: async () => {
      abort.abort();
      await run;
    },
  };
}
