import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createServer } from 'node:tls';
import { SERVER_NAME } from '../ours/service.ts';
import { issueIdentities } from '../system/identity.ts';
import { startService } from '../system/running.ts';
import type { ShortConnections, ShortResult } from './tls-source.ts';

test('connections with a session take it up, those without do not, and a certificate is shown', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tls-source-'));
  const { caller, service } = issueIdentities(folder);
  const shown: boolean[] = [];
  const server = createServer({ cert: readFileSync(service.certFile), key: readFileSync(service.keyFile), requestCert: true, rejectUnauthorized: false, sessionIdContext: 'test' }, (socket) => {
    shown.push(socket.getPeerX509Certificate() !== undefined);
    socket.on('error', () => undefined).once('data', () => socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const source = await startService(new URL('./tls-source.ts', import.meta.url), {});
  const run = (isResumed: boolean): Promise<ShortResult> => {
    const args: ShortConnections = { port: (server.address() as AddressInfo).port, serverName: SERVER_NAME, ...caller, count: 10, concurrency: 2, isResumed };
    return source.call<ShortResult>('connections', args);
  };
  try {
    assert.equal((await run(true)).resumed, 10);
    assert.equal((await run(false)).resumed, 0);
    assert.ok(shown.length >= 20 && shown.every(Boolean));
  } finally {
    await source.stop();
    server.close();
    rmSync(folder, { recursive: true });
  }
});
