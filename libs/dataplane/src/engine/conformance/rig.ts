// A relay between raw sockets, for tests that look at every byte: clients on one side, endpoints on the other.
import assert from 'node:assert/strict';
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, test } from 'node:test';
import type { Endpoint, ServiceView, TrustDomain } from '@isthmus/model';
import { anEndpoint, aServiceView } from '@isthmus/model/testing';
import { type Metrics, openMetrics, silentLog } from '@isthmus/telemetry';
import { type EastWest, type EastWestOptions, startEastWest } from '../../proxy/east-west.ts';
import type { EngineKind } from '../engine.ts';
import { availableEngines, TestSnapshots } from '../testing.ts';
import { helloBytes } from './hello-bytes.ts';

export const TRUST_DOMAIN = 'east.acme.example' as TrustDomain;
/** The exported name every rig has, and one that is there and not exported. */
export const NAME = 'http.payments.shop.svc.east.acme.example';
export const UNEXPORTED = 'http.vault.shop.svc.east.acme.example';
export const HELLO: Buffer = helloBytes({ names: [NAME] });

const LIMIT_MS = 20_000;

/** One end of a connection, with everything that has come in. Errors are kept, never thrown. */
export class Peer {
  readonly socket: Socket;
  /** Bytes received so far; kept only while they are few. */
  received: Buffer = Buffer.alloc(0);
  receivedBytes = 0;
  readonly #hash: Hash = createHash('sha256');
  hasEnded = false;
  errorCode: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => (this.errorCode = error.code ?? error.message));
    socket.on('end', () => (this.hasEnded = true));
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      this.#hash.update(chunk);
      if (this.receivedBytes <= 100_000) this.received = Buffer.concat([this.received, chunk]);
    });
  }

  /** Writes and waits until the system has it. */
  async write(bytes: Buffer | string): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** Of everything received, to be asked once. */
  digest(): string {
    return this.#hash.digest('hex');
  }

  async hasReceived(count: number): Promise<Buffer> {
    await until(`${count} bytes`, () => this.receivedBytes >= count || this.socket.closed);
    assert.ok(this.receivedBytes >= count, `${this.receivedBytes} of ${count} bytes came, then ${this.errorCode ?? 'the end'}`);
    return this.received;
  }

  async isEnded(): Promise<void> {
    await until('the end', () => this.hasEnded || this.socket.closed);
    assert.equal(this.errorCode, undefined);
    assert.ok(this.hasEnded);
  }

  /** Waits until nothing more will come, whichever way that was done. */
  async isLetGo(): Promise<void> {
    await until('the close', () => this.hasEnded || this.socket.closed);
  }

  /** How it was closed: `end`, or the error's code. */
  async closed(): Promise<string> {
    await until('the close', () => this.socket.closed);
    return this.errorCode ?? 'end';
  }
}

/** Waits for what must come, and says what did not. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!holds()) {
    if (performance.now() > endMs) assert.fail(`${what} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const backends: Backend[] = [];
/** Also those a failed test left open, which would keep the process. */
after(() => {
  for (const backend of backends) backend.close();
});

/** An endpoint that keeps what connects to it. */
export class Backend {
  readonly server: Server;
  readonly peers: Peer[] = [];
  port = 0;

  constructor(onPeer: (peer: Peer) => void = () => undefined) {
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      const peer = new Peer(socket);
      this.peers.push(peer);
      onPeer(peer);
    });
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    backends.push(this);
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  /** The connection made as the n-th. */
  async peer(n = 0): Promise<Peer> {
    await until(`connection ${n + 1} at the endpoint`, () => this.peers.length > n);
    const peer = this.peers[n];
    assert.ok(peer !== undefined);
    return peer;
  }

  close(): void {
    this.server.close();
    for (const { socket } of this.peers) socket.destroy();
  }
}

export type Rig = {
  readonly relay: EastWest;
  readonly backend: Backend;
  readonly metrics: Metrics;
  readonly snapshots: TestSnapshots;
  /** A connection to the relay. */
  connect(): Promise<Peer>;
  /** A connection led to the backend, and its other end; both have seen the hello through. */
  open(): Promise<{ readonly client: Peer; readonly server: Peer }>;
  /** Waits until the metrics, which are up to a second behind, have such lines. */
  counts(...lines: readonly string[]): Promise<void>;
  /** Closes the relay, at once, and looks for such lines in its last metrics. */
  closesWith(...lines: readonly string[]): Promise<void>;
};

export type RigOptions = {
  readonly onPeer?: (peer: Peer) => void;
  /** Endpoints of the service, given the backend's port; the backend alone without it. */
  readonly endpoints?: (port: number) => readonly Endpoint[];
  readonly over?: Partial<EastWestOptions>;
};

/** An endpoint on this machine. */
export const endpointAt = (port: number, over: Partial<Endpoint> = {}): Endpoint => anEndpoint({ id: `east/${port}`, host: '127.0.0.1', ports: { http: port }, ...over });

/** What a snapshot of a rig holds: the exported service, and one that is not. */
export function viewsOf(endpoints: readonly Endpoint[]): readonly ServiceView[] {
  return [aServiceView({ endpoints: [...endpoints] }), aServiceView({ name: 'vault', exported: false, endpoints: [...endpoints] })];
}

/** Opens a relay on an engine with one backend, and closes everything afterwards. */
export async function withRig(engine: EngineKind, options: RigOptions, use: (rig: Rig) => Promise<void>): Promise<void> {
  const backend = await new Backend(options.onPeer).listen();
  const snapshots = new TestSnapshots(...viewsOf(options.endpoints?.(backend.port) ?? [endpointAt(backend.port)]));
  const metrics = openMetrics();
  const listen = { host: '127.0.0.1', port: 0 };
  const relay = await startEastWest({ listen, snapshots, trustDomain: TRUST_DOMAIN, reserved: {}, engine, workers: 1, log: silentLog(), metrics, ...options.over }).catch((error: unknown) => {
    backend.close();
    throw error;
  });
  const clients: Peer[] = [];
  const connectOne = async (): Promise<Peer> => {
    const peer = new Peer(connect({ port: relay.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }));
    clients.push(peer);
    await until('the connection', () => !peer.socket.connecting);
    return peer;
  };
  const rig: Rig = {
    relay,
    backend,
    metrics,
    snapshots,
    connect: connectOne,
    open: async () => {
      const before = backend.peers.length;
      const client = await connectOne();
      await client.write(HELLO);
      const server = await backend.peer(before);
      await server.hasReceived(HELLO.length);
      return { client, server };
    },
    counts: async (...lines) => {
      const endMs = performance.now() + LIMIT_MS;
      for (let missing = lines; missing.length > 0; missing = missingOf(lines, await metrics.text())) {
        if (performance.now() > endMs) assert.fail(`not counted: ${missing.join('; ')}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    closesWith: async (...lines) => {
      await relay.close();
      const text = await metrics.text();
      assert.deepEqual(missingOf(lines, text), [], text.split('\n').filter((l) => l.startsWith('isthmus_gateway')).join('\n'));
    },
  };
  try {
    await use(rig);
  } finally {
    for (const { socket } of clients) socket.destroy();
    backend.close();
    await relay.close();
  }
}

function missingOf(lines: readonly string[], text: string): readonly string[] {
  const all = new Set(text.split('\n'));
  return lines.filter((line) => !all.has(line));
}

const engines = await availableEngines();

/** A test for every engine that can run here. */
export function onEachEngine(name: string, run: (engine: EngineKind) => Promise<void>): void {
  for (const engine of engines) test(`${engine}: ${name}`, { timeout: 60_000 }, () => run(engine));
}
