// DNS for mesh names over UDP and TCP: answers for its one zone, refuses or passes on every other, and bounds what it reads.
import { createSocket, type RemoteInfo } from 'node:dgram';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { messageOf } from '@isthmus/model';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { type ListenAddress, listenOn } from '../proxy/listen.ts';
import { answerQuery, type Lookup } from './answer.ts';
import type { Forwarder } from './forward.ts';

export type DnsOptions = {
  readonly listen: ListenAddress;
  /** Address of a name of the zone, given in lower case without trailing dot; undefined when there is no such name. */
  readonly lookup: Lookup;
  /** Who is asked about other zones; without it those are refused. */
  readonly forwarder?: Pick<Forwarder, 'ask'> | undefined;
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
/** Questions of one connection that are passed on and not answered yet. */
const MAX_TCP_WAITING = 16;
const TCP_IDLE_MS = 5_000;
/** A query is one question and an OPT record. */
const MAX_QUERY_BYTES = 4_096;

/** Answers one query, now or later; undefined: not at all. `maxBytes` 0 means UDP. */
type Reply = (query: Buffer, maxBytes: number, send: (answer: Buffer | undefined) => void) => void;

const HEADER_BYTES = 12;
const isQuery = (bytes: Buffer): boolean => bytes.length >= HEADER_BYTES && (bytes.readUInt8(2) & 0x80) === 0;

/** Nothing but the header, as a response with RCODE 2 (RFC 1035 §4.1.1). */
function serverFailure(query: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  query.copy(header, 0, 0, 3);
  header.writeUInt8(header.readUInt8(2) | 0x80, 2);
  header.writeUInt8(0x82, 3); // recursion available
  return header;
}

/** **Throws** DATAPLANE_LISTEN_FAILED. */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  const queries = options.metrics.counter('isthmus_dns_queries_total', 'DNS queries by how they were answered', ['rcode']);
  const { forwarder } = options;
  const reply: Reply = (query, maxBytes, send) => {
    const answered = answerQuery(query, options.lookup, maxBytes);
    // What is no proper question for a mesh name goes on as it came: the nameserver knows more kinds of them.
    if (forwarder === undefined || answered.rcode === 'NOERROR' || answered.rcode === 'NXDOMAIN' || !isQuery(query)) {
      queries.inc({ rcode: answered.rcode });
      return send(answered.bytes);
    }
    void forwarder.ask(query, maxBytes === 0 ? 'udp' : 'tcp').then((answer) => {
      queries.inc({ rcode: answer === undefined ? 'SERVFAIL' : 'forwarded' });
      send(answer ?? serverFailure(query));
    });
  };
  const tcpSockets = new Set<Socket>();
  const tcp = createTcpServer((socket) => {
    tcpSockets.add(socket);
    socket.once('close', () => tcpSockets.delete(socket));
    serveTcp(socket, reply);
  });
  tcp.maxConnections = MAX_TCP_CONNECTIONS;
  const bound = await listenOn(tcp, options.listen, 'DNS', SHARES_PORT);

  let isClosed = false;
  const udp = createSocket({ type: bound.host.includes(':') ? 'udp6' : 'udp4', reusePort: SHARES_PORT });
  udp.on('message', (query: Buffer, from: RemoteInfo) => {
    reply(query, 0, (answer) => {
      if (answer !== undefined && !isClosed) udp.send(answer, from.port, from.address, () => undefined);
    });
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
      isClosed = true;
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await new Promise<void>((resolve) => {
        tcp.close(() => resolve());
        for (const socket of tcpSockets) socket.destroy();
      });
    },
  };
}

/** Messages with two bytes of length in front (RFC 7766), one after the other. */
function serveTcp(socket: Socket, reply: Reply): void {
  let waiting = 0;
  let pending = Buffer.alloc(0);
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    if (pending.length >= 2 && pending.readUInt16BE(0) > MAX_QUERY_BYTES) return void socket.destroy();
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const length = pending.readUInt16BE(0);
      const query = Buffer.from(pending.subarray(2, 2 + length));
      pending = pending.subarray(2 + length);
      if (++waiting > MAX_TCP_WAITING) return void socket.destroy();
      reply(query, 65_535, (answer) => {
        waiting -= 1;
        if (answer === undefined || socket.writableNeedDrain) return void socket.destroy(); // it asks on and reads nothing
        const header = Buffer.alloc(2);
        header.writeUInt16BE(answer.length);
        if (!socket.destroyed) socket.write(Buffer.concat([header, answer]));
      });
      if (socket.destroyed) return;
    }
  });
}
