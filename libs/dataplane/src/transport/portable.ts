// Connections by node:net and node:tls: for every system, on the thread of whoever asks.
import { connect, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { systemClock, type Clock } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { listenOn } from '../proxy/listen.ts';
import { acceptMutualTls, connectMutualTls, resetMutualTls } from '../tls/mutual-tls.ts';
import { lookupByCache } from './name-cache.ts';
import type { ByteStream, DialOptions, ListenOptions, Transport, TransportListener } from './transport.ts';

/** The transport on Node's own sockets. */
export function portableTransport(clock: Clock = systemClock): Transport {
  return {
    engine: 'portable',
    clock,
    listen: (options, onStream) => listenPlain(options, onStream),
    listenMutualTls: async ({ svids, bundles, timeoutMs, alpn, ...options }, onStream, onRefused) =>
      listenPlain(options, (raw) => {
        acceptMutualTls(raw, { svids, bundles, timeoutMs, alpn, clock }).then(
          ({ socket, peer }) => {
            const serverName: unknown = Reflect.get(socket, 'servername');
            onStream({ stream: socket, peer, alpn: socket.alpnProtocol || undefined, serverName: typeof serverName === 'string' ? serverName.toLowerCase() : undefined, isResumed: socket.isSessionReused() });
          },
          (error: unknown) => onRefused(error, raw.remoteAddress),
        );
      }),
    dial: (options) => dialPlain(options, clock),
    dialMutualTls: async (options) => {
      const socket = await connectMutualTls({ clock, ...options });
      return { stream: socket, alpn: socket.alpnProtocol || undefined, isResumed: socket.isSessionReused() };
    },
    reset: (stream) => {
      if (stream instanceof TLSSocket) resetMutualTls(stream);
      else (stream as Socket).resetAndDestroy();
    },
    originalDestination: () => undefined,
  };
}

async function listenPlain(options: ListenOptions, onStream: (stream: Socket) => void): Promise<TransportListener> {
  const open = new Set<ByteStream>();
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000, allowHalfOpen: options.allowHalfOpen });
  server.maxConnections = options.connections;
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('error', () => undefined); // whoever uses it listens too; without one it would end the process (row 68)
    socket.once('close', () => open.delete(socket));
    onStream(socket);
  });
  const bound = await listenOn(server, options.listen, options.label);
  return { ...bound, open, close: () => void server.close() };
}

function dialPlain({ host, port, timeoutMs, allowHalfOpen }: DialOptions, clock: Clock): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, lookup: lookupByCache, allowHalfOpen, noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 });
    const give = (error: Error): void => {
      timer.cancel();
      socket.destroy();
      reject(error);
    };
    const onError = (error: Error): void => give(fail('DATAPLANE_CONNECT_FAILED', `connecting to ${host}:${port} failed: ${error.message}`, { cause: error, facts: { host, port } }));
    const timer = clock.setTimer(timeoutMs, () => give(fail('DATAPLANE_CONNECT_TIMEOUT', `no connection to ${host}:${port} within ${timeoutMs} ms`, { facts: { host, port } })));
    socket.once('error', onError);
    socket.once('connect', () => {
      timer.cancel();
      socket.on('error', () => undefined);
      socket.off('error', onError);
      resolve(socket);
    });
  });
}
