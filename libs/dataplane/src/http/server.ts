// A node:http server that is handed its connections, so that what comes before HTTP (TLS, protocol detection) stays outside.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Log, silentLog } from '@isthmus/telemetry';
import { messageOf } from '@isthmus/model';
import { REASON_HEADER, valuesOf } from './headers.ts';

export type HttpServerOptions = {
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly onUpgrade: (request: IncomingMessage, socket: Socket, head: Buffer) => Promise<void>;
  /** Limit for a request's head (slowloris, reliability row 58). */
  readonly headersTimeoutMs: number;
  /** How long an idle connection stays for the next request. */
  readonly keepAliveMs: number;
  /** A connection on which nothing moves for so long is closed. */
  readonly idleMs: number;
  readonly log?: Log;
};

export interface HttpServer {
  /** Takes over an accepted connection. */
  take(socket: Socket): void;
  /** Answers from now on close their connection. */
  drain(): void;
  closeIdle(): void;
  close(): void;
}

/** Makes the server. Requests with two Host headers are refused with 400, CONNECT with 405 (reliability, multi-value headers). */
export function openHttpServer(options: HttpServerOptions): HttpServer {
  const log = options.log ?? silentLog();
  let draining = false;
  const server = createServer(
    {
      headersTimeout: options.headersTimeoutMs,
      requestTimeout: 0, // a long upload is no fault; one that does not move ends by idleMs
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: options.keepAliveMs,
      // Only WebSocket may leave HTTP; h2c by upgrade would smuggle requests past header checks.
      shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
    },
    (request, response) => {
      if (draining) response.shouldKeepAlive = false;
      response.on('error', () => undefined); // the caller's connection broke; 'close' tells
      if (valuesOf(request.rawHeaders, 'host').length > 1) return answer(response, 400, undefined, 'more than one Host header');
      options.onRequest(request, response).catch((error: unknown) => {
        log.error('http request handler failed', { detail: messageOf(error) });
        if (response.headersSent) response.destroy();
        else answer(response, 500, undefined, 'internal error');
      });
    },
  );
  server.timeout = options.idleMs;
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    const socket = stream as Socket;
    socket.on('error', () => undefined);
    options.onUpgrade(request, socket, head).catch((error: unknown) => {
      log.error('upgrade handler failed', { detail: messageOf(error) });
      socket.destroy();
    });
  });
  server.on('connect', (_request, socket) => socket.end('HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    const line = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? '408 Request Timeout' : error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy());
  });
  // node:http starts its check of header time limits when it listens itself; here others listen for it.
  server.emit('listening');
  return {
    take: (socket) => void server.emit('connection', socket),
    drain() {
      draining = true;
    },
    closeIdle: () => server.closeIdleConnections(),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Isthmus' own answer: short, plain, with the reason as a response flag where there is one. */
export function answer(response: ServerResponse, status: number, reason: string | undefined, text: string, extra: Readonly<Record<string, string>> = {}): void {
  if (response.headersSent || response.destroyed) return;
  const body = `isthmus: ${text}${reason === undefined ? '' : ` (${reason})`}\n`;
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    ...(reason === undefined ? {} : { [REASON_HEADER]: reason }),
    ...extra,
  });
  response.end(body);
}

/** The same on a bare socket, for a request that asked for an upgrade. */
export function answerSocket(socket: Socket, status: number, reason: string, text: string, extra: Readonly<Record<string, string>> = {}): void {
  const body = `isthmus: ${text} (${reason})\n`;
  const headers = Object.entries({ [REASON_HEADER]: reason, ...extra }).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  socket.end(`HTTP/1.1 ${status} ${status === 504 ? 'Gateway Timeout' : 'Service Unavailable'}\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`);
}
