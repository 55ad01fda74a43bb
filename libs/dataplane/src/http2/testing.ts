// For tests: the other end of an HTTP/2 connection, byte by byte, on a real socket, and a server with what it saw.
import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '@isthmus/runtime';
import { HTTP_LIMITS, type HttpLimits, type RequestHead, type ServerConnection, type ServerExchange } from '../http/exchange.ts';
import { serveHttp2 } from './server.ts';
import { kept } from '../transport/lent.ts';
import { portableTransport } from '../transport/portable.ts';
import type { Transport } from '../transport/transport.ts';
import { PREFACE } from './protocol.ts';

/** One frame, as cut by hand. */
export type RawFrame = { readonly type: number; readonly flags: number; readonly id: number; readonly payload: Buffer };

/** A frame's bytes; `length` may lie. */
export function frame(type: number, flags: number, id: number, payload: Buffer | string | readonly number[] = '', length?: number): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : Buffer.from(payload);
  const head = Buffer.alloc(9);
  head.writeUIntBE(length ?? body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, body]);
}

/** Four octets, big-endian. */
export function word(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

/** SETTINGS with pairs of name and value. */
export function settings(...pairs: readonly (readonly [name: number, value: number])[]): Buffer {
  return frame(4, 0, 0, Buffer.concat(pairs.map(([name, value]) => Buffer.concat([Buffer.from([0, name]), word(value)]))));
}

/** A block of fields, each a plain literal that no table remembers; names and values under 127 bytes, or any with `long`. */
export function block(...fields: readonly (readonly [name: string, value: string])[]): Buffer {
  const text = (s: string): Buffer => {
    const body = Buffer.from(s, 'latin1');
    if (body.length < 127) return Buffer.concat([Buffer.from([body.length]), body]);
    const rest = body.length - 127;
    const octets = [127];
    let left = rest;
    for (; left >= 128; left >>>= 7) octets.push((left & 127) | 128);
    octets.push(left);
    return Buffer.concat([Buffer.from(octets), body]);
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** A good request's fields, with more behind or instead. */
export function requestBlock(method = 'GET', ...more: readonly (readonly [string, string])[]): Buffer {
  return block([':method', method], [':scheme', 'http'], [':path', '/'], [':authority', 'example.com'], ...more);
}

/** The first bytes of a client. */
export const HELLO: Buffer = Buffer.concat([PREFACE, settings(), frame(4, 1, 0)]);

/** Whoever is at the other end, frame by frame. */
export class RawPeer {
  readonly socket: Duplex;
  readonly frames: RawFrame[] = [];
  isClosed = false;
  #rest = Buffer.alloc(0);
  #waiting: (() => void)[] = [];
  #skipBytes: number;

  /** `skipBytes`: what to ignore at the start, such as a client's preface. */
  constructor(socket: Duplex, skipBytes = 0) {
    this.socket = socket;
    this.#skipBytes = skipBytes;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => undefined);
    socket.on('end', () => this.#close());
    socket.on('close', () => this.#close());
  }

  send(...chunks: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(chunks));
  }

  /** The first frame, from those not looked at yet, that fits; fails when the connection closes or after 5 s. */
  async find(name: string, fits: (frame: RawFrame) => boolean): Promise<RawFrame> {
    const limit = AbortSignal.timeout(5000);
    let seen = 0;
    for (;;) {
      for (; seen < this.frames.length; seen++) {
        const frame = this.frames[seen];
        if (frame !== undefined && fits(frame)) {
          this.frames.splice(seen, 1);
          return frame;
        }
      }
      if (this.isClosed || limit.aborted) throw new Error(`${name} did not come; there were ${this.summary()}`);
      await this.#change(limit);
    }
  }

  /** Waits for the end of the connection. */
  async closed(): Promise<void> {
    const limit = AbortSignal.timeout(5000);
    while (!this.isClosed) {
      if (limit.aborted) throw new Error(`the connection did not close; there were ${this.summary()}`);
      await this.#change(limit);
    }
  }

  summary(): string {
    return this.frames.map((f) => `${f.type}/${f.flags}/${f.id}`).join(' ') || 'no frames';
  }

  async #change(limit: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      limit.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    if (this.#skipBytes > 0) {
      const skipped = Math.min(this.#skipBytes, this.#rest.length);
      this.#skipBytes -= skipped;
      this.#rest = this.#rest.subarray(skipped);
    }
    while (this.#rest.length >= 9 && this.#rest.length >= 9 + this.#rest.readUIntBE(0, 3)) {
      const end = 9 + this.#rest.readUIntBE(0, 3);
      this.frames.push({ type: this.#rest[3] ?? 0, flags: this.#rest[4] ?? 0, id: this.#rest.readUInt32BE(5), payload: this.#rest.subarray(9, end) });
      this.#rest = this.#rest.subarray(end);
    }
    this.#wake();
  }

  #close(): void {
    this.isClosed = true;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** A server on loopback and what it saw. */
export type TestServer = {
  readonly port: number;
  readonly refusals: string[];
  readonly connections: ServerConnection[];
  close(): void;
};

export type TestServerOptions = {
  readonly limits?: Partial<HttpLimits>;
  readonly clock?: Clock;
  /** Node's sockets without it. */
  readonly transport?: Transport;
  readonly onRequest: (head: RequestHead, exchange: ServerExchange) => void;
};

/** Serves HTTP/2 by prior knowledge on a free port. */
export async function startServer(options: TestServerOptions): Promise<TestServer> {
  const refusals: string[] = [];
  const connections: ServerConnection[] = [];
  const transport = options.transport ?? portableTransport();
  const listener = await transport.listen({ listen: { host: '127.0.0.1', port: 0 }, label: 'a test', allowHalfOpen: false, connections: 1000 }, (stream) => {
    connections.push(
      serveHttp2(stream, {
        limits: { ...HTTP_LIMITS, ...options.limits },
        clock: options.clock ?? transport.clock,
        peer: 'a test',
        scheme: 'http',
        handlers: { onRequest: options.onRequest, onRefused: (code) => void refusals.push(code) },
      }),
    );
  });
  const close = (): void => {
    for (const stream of [...listener.open]) stream.destroy();
    listener.close();
  };
  return { port: listener.port, refusals, connections, close };
}

/** Listens on a free port of loopback. */
export async function listen(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** A raw client that has said hello. */
export async function connectRaw(port: number, hello: Buffer = HELLO): Promise<RawPeer> {
  const socket = net.connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  const peer = new RawPeer(socket);
  if (hello.length > 0) peer.send(hello);
  return peer;
}

/** Answers 200 with what came, once it has all come. */
export function echo(_head: RequestHead, exchange: ServerExchange): void {
  const parts: Buffer[] = [];
  exchange.receive({
    data: (chunk) => void parts.push(kept(chunk)),
    end: (trailers) => {
      exchange.respond({ status: 200, headers: ['content-type', 'application/octet-stream'], bodyBytes: undefined }, false);
      if (parts.length > 0) exchange.write(Buffer.concat(parts));
      exchange.end(trailers);
    },
    abort: () => undefined,
  });
}
