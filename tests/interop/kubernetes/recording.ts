// What an API server said, written down and said again: a proxy that records lists and watches, and a server that replays them.
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from '@isthmus/runtime/http';

/** One answer: to a list its body, to a watch its lines and whether it ended. `path` has no query. */
export type Exchange = { readonly path: string; readonly isWatch: boolean; readonly status: number; readonly body?: string; readonly lines?: string[]; ended?: boolean };

const listen = (server: Server): Promise<string> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));

/** Passes everything on to the server and keeps what it answered to GET; `save` writes one exchange a line. */
export async function startRecorder(target: { readonly url: string; readonly caFile: string }): Promise<{ readonly url: string; readonly exchanges: readonly Exchange[]; refuse(): () => void; save(file: string): void; close(): void }> {
  const exchanges: Exchange[] = [];
  const agent = new Agent({ bodyTimeout: 0, connect: { ca: readFileSync(target.caFile, 'utf8') } });
  let isRefusing = false;
  const server = createServer((incoming, response) => {
    if (isRefusing) return void response.destroy();
    void pass().catch(() => response.destroy());
    async function pass(): Promise<void> {
      const url = new URL(incoming.url ?? '/', target.url);
      const isWatch = url.searchParams.get('watch') === 'true';
      const sent: Buffer[] = [];
      for await (const part of incoming as AsyncIterable<Buffer>) sent.push(part);
      const stop = new AbortController();
      response.on('close', () => stop.abort());
      const { authorization = '', 'content-type': contentType } = incoming.headers;
      const answer = await request(url, {
        method: incoming.method as 'GET',
        dispatcher: agent,
        signal: stop.signal,
        headers: { authorization, accept: 'application/json', ...(contentType !== undefined && { 'content-type': contentType }) },
        ...(sent.length > 0 && { body: Buffer.concat(sent) }),
      });
      response.writeHead(answer.statusCode, { 'content-type': 'application/json' });
      if (incoming.method === 'GET' && isWatch && answer.statusCode === 200) {
        response.flushHeaders();
        const exchange: Exchange = { path: url.pathname, isWatch, status: 200, lines: [], ended: false };
        exchanges.push(exchange);
        let rest = '';
        for await (const part of answer.body as AsyncIterable<Buffer>) {
          response.write(part);
          const lines = (rest + part.toString('utf8')).split('\n');
          rest = lines.pop() ?? '';
          exchange.lines?.push(...lines);
        }
        exchange.ended = true;
        response.end();
        return;
      }
      const body = await answer.body.text();
      if (incoming.method === 'GET') exchanges.push({ path: url.pathname, isWatch, status: answer.statusCode, body });
      response.end(body);
    }
  });
  return {
    url: await listen(server),
    exchanges,
    /** Cuts every connection and takes no new one, until the returned function is called. */
    refuse() {
      isRefusing = true;
      server.closeAllConnections();
      return () => (isRefusing = false);
    },
    save(file) {
      // A watch that was cut off ended too; only the last of each path goes on.
      const last = new Map(exchanges.filter((e) => e.isWatch && e.status === 200).map((e) => [e.path, e]));
      writeFileSync(file, exchanges.map((exchange) => `${JSON.stringify({ ...exchange, ...(exchange.lines !== undefined && { ended: exchange !== last.get(exchange.path) }) })}\n`).join(''));
    },
    close() {
      server.close();
      server.closeAllConnections();
      void agent.destroy();
    },
  };
}

/** Says again what was recorded, in the order it was said for each path; the last watch of each stays open. */
export async function startReplay(file: string): Promise<{ readonly url: string; readonly asked: readonly string[]; left(): number; close(): void }> {
  const exchanges = readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Exchange);
  const queues = Map.groupBy(exchanges, (e) => `${e.path} ${e.isWatch}`);
  const asked: string[] = [];
  const server = createServer((incoming, response: ServerResponse) => {
    const url = new URL(incoming.url ?? '/', 'http://replay');
    asked.push(`${incoming.method} ${url.pathname}${url.search}`);
    if (incoming.method !== 'GET') {
      response.writeHead(403).end(JSON.stringify({ kind: 'Status', code: 403, reason: 'Forbidden', message: 'a recording is not written to' }));
      return;
    }
    const exchange = queues.get(`${url.pathname} ${url.searchParams.get('watch') === 'true'}`)?.shift();
    if (exchange === undefined) {
      response.writeHead(503).end();
      return;
    }
    response.writeHead(exchange.status, { 'content-type': 'application/json' });
    if (exchange.lines === undefined) {
      response.end(exchange.body ?? '');
      return;
    }
    for (const line of exchange.lines) response.write(`${line}\n`);
    if (exchange.ended === true) response.end();
    else response.flushHeaders();
  });
  return {
    url: await listen(server),
    asked,
    left: () => [...queues.values()].reduce((sum, queue) => sum + queue.length, 0),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
