// The running demo's own socket: `isthmus demo stop|start|list` speak one JSON line each way over it.
import { existsSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { ERROR_CLASSES, type ErrorClass, IsthmusError, messageOf } from '@isthmus/model';
import { fail } from '../errors.ts';

export type DemoRequest = { readonly verb: 'stop' | 'start' | 'list'; readonly what?: string };
export type DemoReply = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly code: string; readonly class: ErrorClass; readonly message: string; readonly hint?: string };

export interface DemoControl {
  close(): Promise<void>;
}

/** Serves the socket. Throws CLI_DEMO_RUNNING where another demo of the same state directory answers on it. */
export async function serveDemoControl(socket: string, handle: (request: DemoRequest) => Promise<unknown>): Promise<DemoControl> {
  if (existsSync(socket)) {
    const answers = await askDemo(socket, { verb: 'list' }).then(() => true, () => false);
    if (answers) throw fail('CLI_DEMO_RUNNING', `a demo runs already and answers on ${socket}`, { hint: 'end it with Ctrl-C, or use another --state and --ports' });
    rmSync(socket, { force: true });
  }
  const server = createServer({ allowHalfOpen: true }, (connection) => {
    connection.on('error', () => connection.destroy());
    createInterface({ input: connection }).once('line', (line) => {
      void answer(line, handle).then((reply) => connection.end(`${JSON.stringify(reply)}\n`));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socket, resolve);
  });
  return {
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

async function answer(line: string, handle: (request: DemoRequest) => Promise<unknown>): Promise<DemoReply> {
  try {
    return { ok: true, result: await handle(JSON.parse(line) as DemoRequest) };
  } catch (error) {
    if (error instanceof IsthmusError) {
      return { ok: false, code: error.code, class: error.class, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) };
    }
    return { ok: false, code: 'INTERNAL', class: 'internal', message: messageOf(error) };
  }
}

/** Sends one request to the running demo. Throws CLI_SOCKET_ABSENT, or the demo's own error. */
export async function askDemo(socket: string, request: DemoRequest): Promise<unknown> {
  const line = await new Promise<string>((resolve, reject) => {
    const connection = connect(socket);
    connection.setTimeout(15_000, () => connection.destroy(new Error('no answer in 15 s')));
    connection.once('error', reject);
    connection.once('connect', () => connection.write(`${JSON.stringify(request)}\n`));
    const lines = createInterface({ input: connection });
    lines.once('line', resolve);
    lines.once('error', reject);
    connection.once('close', () => reject(new Error('the demo closed the connection')));
  }).catch((error: unknown) => {
    throw fail('CLI_SOCKET_ABSENT', `no demo answers on ${socket}: ${messageOf(error)}`, { hint: 'start it with `npm start`' });
  });
  const reply = JSON.parse(line) as DemoReply;
  if (reply.ok) return reply.result;
  const errorClass = Object.hasOwn(ERROR_CLASSES, reply.class) ? reply.class : 'internal';
  throw new IsthmusError(reply.code, errorClass, reply.message, reply.hint === undefined ? {} : { hint: reply.hint });
}
