// A client of short connections over mutual TLS: one request each, with or without taking up a session. A process of its own.
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { serveCommands } from '../system/serve.ts';

export type ShortConnections = {
  readonly port: number;
  readonly serverName: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly count: number;
  readonly concurrency: number;
  readonly isResumed: boolean;
};
export type ShortResult = { readonly elapsedMs: number; readonly resumed: number };

const REQUEST = 'GET /small HTTP/1.1\r\nHost: payments\r\nConnection: close\r\n\r\n';

type Identity = { readonly cert: Buffer; readonly key: Buffer };

/** Resolves to the session that the server gave, and whether ours was taken up. */
function once({ port, serverName }: ShortConnections, identity: Identity, session: Buffer | undefined): Promise<{ readonly session: Buffer | undefined; readonly isReused: boolean }> {
  return new Promise((resolve, reject) => {
    let given: Buffer | undefined;
    let answer = '';
    let isReused = false;
    // What is measured is the proxy, whose certificate it is; the other end is not judged.
    const socket = connect({ port, host: '127.0.0.1', servername: serverName, rejectUnauthorized: false, ...identity, ...(session !== undefined && { session }) });
    socket.on('session', (got: Buffer) => (given ??= got));
    socket.once('secureConnect', () => {
      isReused = socket.isSessionReused();
      socket.write(REQUEST);
    });
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
    socket.once('error', reject);
    socket.once('close', () => (answer.startsWith('HTTP/1.1 200') ? resolve({ session: given, isReused }) : reject(new Error(`no answer, but ${JSON.stringify(answer.slice(0, 80))}`))));
  });
}

async function connections(args: ShortConnections): Promise<ShortResult> {
  const identity = { cert: readFileSync(args.certFile), key: readFileSync(args.keyFile) };
  const { session } = await once(args, identity, undefined);
  const startedMs = performance.now();
  let left = args.count;
  let resumed = 0;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const { isReused } = await once(args, identity, args.isResumed ? session : undefined);
      if (isReused) resumed += 1;
    }
  };
  await Promise.all(Array.from({ length: args.concurrency }, worker));
  return { elapsedMs: performance.now() - startedMs, resumed };
}

serveCommands({ start: () => ({ port: 0 }), connections });
