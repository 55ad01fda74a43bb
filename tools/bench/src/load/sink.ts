// A backend behind the proxies: it takes the hello, then answers, echoes or counts. Run as a process of its own.
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { serveCommands } from '../system/serve.ts';
import { HELLO_BYTES } from './client-hello.ts';
import { collectGarbage } from './garbage.ts';

/** `answer`: 64 bytes and close. `echo`: every byte after the hello. `count`: says at the end how many came after the hello. */
export type SinkKind = 'answer' | 'echo' | 'count';

const ANSWER = Buffer.alloc(64, 'a');

function take(kind: SinkKind, socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    const before = bytes;
    bytes += chunk.length;
    if (kind === 'answer' && before < HELLO_BYTES && bytes >= HELLO_BYTES) socket.end(ANSWER);
    if (kind === 'echo' && bytes > HELLO_BYTES) socket.write(before >= HELLO_BYTES ? chunk : chunk.subarray(HELLO_BYTES - before));
    if (kind === 'echo' && before < HELLO_BYTES && bytes >= HELLO_BYTES) socket.write(ANSWER);
  });
  socket.on('end', () => socket.end(kind === 'count' ? String(bytes - HELLO_BYTES) : ''));
}

serveCommands({
  start: async ({ kind }: { readonly kind: SinkKind }) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => take(kind, socket));
    await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve));
    return { port: (server.address() as AddressInfo).port };
  },
  collectGarbage,
});
