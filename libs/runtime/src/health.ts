// Health, readiness and metrics over HTTP, on loopback unless told otherwise.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from '@isthmus/telemetry';
import { systemClock } from './clock.ts';
import { watchEventLoop } from './event-loop.ts';
import { portBusy } from './process.ts';

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves `/healthz` (alive), `/readyz` (every check holds; names those that do not) and `/metrics`. The event loop of this
 * thread is watched and is a check of its own. **Throws** PORT_BUSY.
 */
export async function serveHealth(options: {
  readonly host?: string;
  readonly port: number;
  readonly checks: Readonly<Record<string, () => boolean>>;
  readonly metrics: Metrics;
}): Promise<HealthServer> {
  const host = options.host ?? '127.0.0.1';
  const loop = watchEventLoop({ clock: systemClock, metrics: options.metrics });
  const checks = { ...options.checks, 'event-loop': () => loop.isResponsive() };
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000, maxHeaderSize: 8_192 }, (request, response) => {
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type }).end(body);
    };
    if (request.url === '/healthz') answer(200, 'ok\n');
    else if (request.url === '/readyz') {
      const failing = Object.entries(checks).flatMap(([name, holds]) => (isTrue(holds) ? [] : [name]));
      answer(failing.length === 0 ? 200 : 503, failing.length === 0 ? 'ready\n' : `not ready: ${failing.join(', ')}\n`);
    } else if (request.url === '/metrics') {
      options.metrics.text().then(
        (text) => answer(200, text, 'text/plain; version=0.0.4; charset=utf-8'),
        () => answer(500, 'metrics failed\n'),
      );
    } else answer(404, 'not found\n');
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      loop.close();
      reject(portBusy(error, host, options.port));
    });
    server.listen(options.port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        loop.close();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A check that throws does not hold, and does not take the process with it. */
function isTrue(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}
