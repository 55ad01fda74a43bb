// DNS for mesh names over UDP and TCP: answers for its one zone, refuses every other, and bounds what it reads.
import { createSocket, type RemoteInfo } from 'node:dgram';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { messageOf } from '@isthmus/model';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { type ListenAddress, listenOn } from '../proxy/listen.ts';
import { answerQuery, type Lookup } from './answer.ts';

export type DnsOptions = {
  readonly listen: ListenAddress;
  /** Address of a name of the zone, given in lower case without trailing dot; undefined when there is no such name. */
  readonly lookup: Lookup;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface DnsServer {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** A successor answers beside its predecessor. What keeps a second agent from starting are its other listeners. */
const SHARES_PORT = process.platform === 'linux';
const MAX_TCP_CONNECTIONS = 64;
const TCP_IDLE_MS = 5_000;
/** A query is one question and an OPT record. */
const MAX_QUERY_BYTES = 4_096;

/** **Throws** DATAPLANE_LISTEN_FAILED. */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  const queries = options.metrics.counter('isthmus_dns_queries_total', 'DNS queries by how they were answered', ['rcode']);
  const reply = (query: Buffer, maxBytes: number): Buffer | undefined => {
    const answered = answerQuery(query, options.lookup, maxBytes);
    queries.inc({ rcode: answered.rcode });
    return answered.bytes;
  };
  const tcpSockets = new Set<Socket>();
  const tcp = createTcpServer((socket) => {
    tcpSockets.add(socket);
    socket.once('close', () => tcpSockets.delete(socket));
    serveTcp(socket, reply);
  });
  tcp.maxConnections = MAX_TCP_CONNECTIONS;
  const bound = await listenOn(tcp, options.listen, 'DNS', SHARES_PORT);

  const udp = createSocket({ type: bound.host.includes(':') ? 'udp6' : 'udp4', reusePort: SHARES_PORT });
  udp.on('message', (query: Buffer, from: RemoteInfo) => {
    const answer = reply(query, 0);
    if (answer !== undefined) udp.send(answer, from.port, from.address, () => undefined);
  });
  await new Promise<void>((resolve, reject) => {
    udp.once('error', (error) => {
      tcp.close();
      reject(fail('DATAPLANE_LISTEN_FAILED', `DNS cannot listen on UDP ${bound.host}:${bound.port}: ${messageOf(error)}`, { cause: error, facts: { port: bound.port } }));
    });
    udp.bind(bound.port, bound.host, () => {
      udp.removeAllListeners('error').on('error', (error) => options.log.warn('DNS socket error', { error: messageOf(error) }));
      resolve();
    });
  });
  return {
    ...bound,
    close: async () => {
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await new Promise<void>((resolve) => {
        tcp.close(() => resolve());
        for (const socket of tcpSockets) socket.destroy();
      });
    },
  };
}

/** Messages with two bytes of length in front (RFC 7766), one after the other. */
function serveTcp(socket: Socket, reply: (query: Buffer, maxBytes: number) => Buffer | undefined): void {
  let pending = Buffer.alloc(0);
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    if (pending.length >= 2 && pending.readUInt16BE(0) > MAX_QUERY_BYTES) return void socket.destroy();
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const length = pending.readUInt16BE(0);
      const answer = reply(pending.subarray(2, 2 + length), 65_535);
      pending = pending.subarray(2 + length);
      if (answer === undefined || socket.writableNeedDrain) return void socket.destroy(); // it asks on and reads nothing
      const header = Buffer.alloc(2);
      header.writeUInt16BE(answer.length);
      socket.write(Buffer.concat([header, answer]));
    }
  });
}
