// A Unix socket to serve on: its file never taken from a live process, its callers known before they may call.
import { lstat, mkdir, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { messageOf } from '@isthmus/model';
import type { Log, Metrics } from '@isthmus/telemetry';
import { rememberPeer, type UnixPeer } from './caller.ts';
import { fail } from './errors.ts';
import { rpcMetrics } from './metrics.ts';

/** `sun_path` holds 108 bytes with the zero at its end; unix(7). */
const MAX_PATH_BYTES = 107;
const CONNECTIONS_PER_USER = 128;

export type UnixListenerOptions = {
  readonly path: string;
  /** Whether a directory that is made for the socket is closed to others. */
  readonly isPrivate: boolean;
  readonly peerOf?: (socket: Socket) => Promise<UnixPeer>;
  readonly connectionsPerUser?: number;
  readonly log: Log;
  readonly metrics?: Metrics;
};

/** Makes ready to listen. **Throws** RPC_SOCKET_PATH for a path that is too long or another file's, RPC_SOCKET_BUSY. */
export async function listenOnUnixSocket(options: UnixListenerOptions): Promise<{ readonly listener: Server & { secureEvent: string }; readonly stopListening: () => void }> {
  const { path, peerOf } = options;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw fail('RPC_SOCKET_PATH', `the socket path ${path} has ${Buffer.byteLength(path)} bytes, the system takes ${MAX_PATH_BYTES}`, { hint: 'choose a shorter directory' });
  }
  await mkdir(dirname(path), { recursive: true, mode: options.isPrivate ? 0o700 : 0o755 });
  await removeLeftover(path);
  const server = createServer((socket) => socket.on('error', () => socket.destroy()));
  if (peerOf === undefined) return { listener: Object.assign(server, { secureEvent: 'connection' }), stopListening: () => undefined };
  server.on('connection', admission(server, peerOf, options));
  return { listener: Object.assign(server, { secureEvent: 'peerKnown' }), stopListening: () => undefined };
}

function admission(server: Server, peerOf: (socket: Socket) => Promise<UnixPeer>, options: UnixListenerOptions): (socket: Socket) => void {
  const { log, connectionsPerUser = CONNECTIONS_PER_USER } = options;
  const metrics = options.metrics && rpcMetrics(options.metrics);
  const open = new Map<number, number>();
  const refuse = (socket: Socket, reason: string, detail: string): void => {
    metrics?.refusedConnections.inc({ reason });
    log.warn('connection refused', { code: reason, detail });
    socket.destroy();
  };
  const admit = (socket: Socket, peer: UnixPeer): void => {
    const count = (open.get(peer.uid) ?? 0) + 1;
    if (count > connectionsPerUser) return refuse(socket, 'too-many-connections', `user ${peer.uid} has ${connectionsPerUser} connections`);
    open.set(peer.uid, count);
    socket.once('close', () => {
      const left = (open.get(peer.uid) ?? 1) - 1;
      if (left === 0) open.delete(peer.uid);
      else open.set(peer.uid, left);
    });
    rememberPeer(socket, peer);
    server.emit('peerKnown', socket);
  };
  return (socket) => {
    peerOf(socket).then(
      (peer) => {
        if (!socket.destroyed) admit(socket, peer);
      },
      (error: unknown) => refuse(socket, 'unknown-peer', messageOf(error)),
    );
  };
}

/** Takes away the socket of a process that was killed; anything else at that path is left alone. */
async function removeLeftover(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw fail('RPC_SOCKET_PATH', `${path} is there and is no socket`, { hint: 'choose another path, or remove that file' });
  if (await answers(path)) throw fail('RPC_SOCKET_BUSY', `another process serves ${path}`, { hint: 'is this program running already?' });
  await unlink(path).catch(() => undefined);
}

/** Whether somebody listens on that socket; one with a full queue does. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    const done = (isAlive: boolean): void => {
      probe.destroy();
      resolve(isAlive);
    };
    probe.once('connect', () => done(true));
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code === 'EAGAIN'));
  });
}
