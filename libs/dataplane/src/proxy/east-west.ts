// The east-west gateway: one open port; reads the server name, finds the exported service, relays bytes. TLS stays whole.
import { connect, createServer, type Socket } from 'node:net';
import { type Engine, pickFrom } from '@isthmus/decide';
import { formatServiceName, messageOf, type ReservedName, type TrustDomain } from '@isthmus/model';
import { type Clock, type Random, systemClock, systemRandom } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { gatewayMetrics } from '../metrics.ts';
import { ALERT_UNRECOGNIZED_NAME, ClientHelloReader } from '../tls/client-hello.ts';
import { relayTls } from '../tls/relay-tls.ts';
import { type ListenAddress, listenOn } from './listen.ts';

export type EastWestLimits = {
  /** From accept to a whole ClientHello (reliability 52). */
  readonly helloMs: number;
  readonly connectMs: number;
  readonly idleMs: number;
  readonly connections: number;
  /** Connections that have not sent a whole ClientHello yet (slowloris). */
  readonly hellos: number;
  readonly attempts: number;
};

export const EAST_WEST_LIMITS: EastWestLimits = { helloMs: 5_000, connectMs: 2_000, idleMs: 3_600_000, connections: 16_384, hellos: 4_096, attempts: 4 };

export type EastWestOptions = {
  readonly listen: ListenAddress;
  /** The engine in force, asked once a connection. */
  readonly engine: () => Engine;
  readonly trustDomain: TrustDomain;
  /** `host:port` behind each reserved name; a name without one is refused. */
  readonly reserved: Readonly<Partial<Record<ReservedName, string>>>;
  readonly limits?: Partial<EastWestLimits>;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface EastWest {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Stops accepting, lets connections end for so long, then resets what is left. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

type Target = { readonly id: string; readonly host: string; readonly port: number };
type Destination = { readonly label: string; readonly pick: (tried: ReadonlySet<string>) => Target | undefined };

/** **Throws** DATAPLANE_LISTEN_FAILED. */
export async function startEastWest(options: EastWestOptions): Promise<EastWest> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const limits = { ...EAST_WEST_LIMITS, ...options.limits };
  const { log } = options;
  const metrics = gatewayMetrics(options.metrics);
  const open = new Set<Socket>();
  let hellos = 0;

  const refuse = (socket: Socket, reason: string, alert: boolean): void => {
    metrics.refused.inc({ reason });
    log.warn('connection refused', { code: reason, remote: socket.remoteAddress });
    if (alert) socket.end(ALERT_UNRECOGNIZED_NAME, () => socket.destroy());
    else socket.destroy();
  };

  const serve = async (socket: Socket): Promise<void> => {
    if (hellos >= limits.hellos) return refuse(socket, 'too-many-hellos', false);
    hellos += 1;
    const hello = await readHello(socket, limits.helloMs, clock).finally(() => (hellos -= 1));
    if (hello.kind === 'gone') return;
    if (hello.kind === 'refused') return refuse(socket, hello.reason, hello.reason === 'no-sni' || hello.reason === 'bad-sni');
    const found = resolve(options, hello.serverName, random);
    if ('refused' in found) return refuse(socket, found.refused, true);
    await relayTo(socket, hello.bytes, found);
  };

  /** Nothing has been sent yet, so any endpoint may be tried after any other. */
  const relayTo = async (socket: Socket, hello: Buffer, { label, pick }: Destination): Promise<void> => {
    const tried = new Set<string>();
    for (let attempt = 0; attempt < limits.attempts && !socket.destroyed; attempt++) {
      const target = pick(tried);
      if (target === undefined) break;
      tried.add(target.id);
      const upstream = await dial(target, limits.connectMs, clock).catch((error: unknown) => {
        metrics.connectFailures.inc({ service: label });
        log.info('endpoint not reached', { service: label, endpoint: target.id, error: messageOf(error) });
      });
      if (upstream === undefined) continue;
      if (socket.destroyed) return void upstream.destroy();
      upstream.write(hello);
      const end = await relayTls(socket, upstream, { idleMs: limits.idleMs });
      metrics.connections.inc({ service: label, end });
      metrics.bytes.inc({ service: label, endpoint: target.id, direction: 'in' }, upstream.bytesWritten);
      metrics.bytes.inc({ service: label, endpoint: target.id, direction: 'out' }, upstream.bytesRead);
      return;
    }
    metrics.connections.inc({ service: label, end: 'unreachable' });
    socket.resetAndDestroy();
  };

  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000, allowHalfOpen: true, pauseOnConnect: true });
  server.maxConnections = limits.connections;
  server.on('connection', (socket) => {
    open.add(socket);
    metrics.open.set(open.size);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      open.delete(socket);
      metrics.open.set(open.size);
    });
    serve(socket).catch((error: unknown) => {
      log.error('gateway connection failed', { error: messageOf(error) });
      socket.destroy();
    });
  });
  server.on('drop', () => metrics.refused.inc({ reason: 'too-many-connections' }));
  const bound = await listenOn(server, options.listen, 'east-west gateway');

  let closing: Promise<void> | undefined;
  const close = async (drainMs: number): Promise<void> => {
    server.close();
    const emptied = Promise.all([...open].map((socket) => new Promise((done) => socket.once('close', done))));
    const late = new AbortController();
    await Promise.race([emptied, clock.sleep(drainMs, late.signal).catch(() => undefined)]);
    late.abort();
    for (const socket of open) socket.resetAndDestroy();
  };
  return {
    ...bound,
    get connections() {
      return open.size;
    },
    close: ({ drainMs = 0 } = {}) => (closing ??= close(drainMs)),
  };
}

/** Where a name leads, or why nowhere. Picked from the route's own tiers: never another cluster's endpoint (row 74). */
function resolve(options: EastWestOptions, serverName: string, random: Random): Destination | { readonly refused: string } {
  const engine = options.engine();
  const route = engine.route(serverName, options.trustDomain);
  if (route.kind === 'refuse') return { refused: route.reason };
  if (route.kind === 'reserved') {
    const address = options.reserved[route.name];
    if (address === undefined) return { refused: 'unknown-name' };
    const at = address.lastIndexOf(':');
    const target = { id: route.name, host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) };
    return { label: route.name, pick: (tried) => (tried.has(target.id) ? undefined : target) };
  }
  const { service, port, tiers } = route;
  return {
    label: formatServiceName(service),
    pick: (tried) => {
      const picked = pickFrom({ tiers, port, exclude: tried, unavailable: () => false, random });
      const number = picked.kind === 'forward' ? picked.endpoint.ports[port] : undefined;
      return picked.kind === 'forward' && number !== undefined ? { id: picked.endpoint.id, host: picked.endpoint.host, port: number } : undefined;
    },
  };
}

type Hello = { readonly kind: 'hello'; readonly serverName: string; readonly bytes: Buffer } | { readonly kind: 'refused'; readonly reason: string } | { readonly kind: 'gone' };

/** Reads until the hello is whole, refused or late; the socket is then paused with every byte read in `bytes`. */
function readHello(socket: Socket, limitMs: number, clock: Clock): Promise<Hello> {
  return new Promise((done) => {
    const reader = new ClientHelloReader();
    const settle = (hello: Hello): void => {
      timer.cancel();
      socket.off('data', onData).off('end', onEnd).off('close', onClose);
      socket.pause();
      done(hello);
    };
    const onData = (chunk: Buffer): void => {
      const result = reader.push(chunk);
      if (result.kind === 'refused') settle(result);
      else if (result.kind === 'hello') settle({ kind: 'hello', serverName: result.serverName, bytes: reader.bytes });
    };
    const onEnd = (): void => settle({ kind: 'refused', reason: reader.bytes.length === 0 ? 'no-hello' : 'malformed' });
    const onClose = (): void => settle({ kind: 'gone' });
    const timer = clock.setTimer(limitMs, () => settle({ kind: 'refused', reason: 'hello-timeout' }));
    socket.on('data', onData).on('end', onEnd).on('close', onClose);
    socket.resume();
  });
}

function dial(target: Target, limitMs: number, clock: Clock): Promise<Socket> {
  return new Promise((resolveSocket, reject) => {
    const socket = connect({ host: target.host, port: target.port, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 });
    const fail = (error: Error): void => {
      timer.cancel();
      socket.destroy();
      reject(error);
    };
    const timer = clock.setTimer(limitMs, () => fail(new Error(`no connection within ${limitMs} ms`)));
    socket.once('error', fail);
    socket.once('connect', () => {
      timer.cancel();
      socket.off('error', fail);
      resolveSocket(socket);
    });
  });
}
