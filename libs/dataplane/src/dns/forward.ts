// Queries for names that are not of the mesh, passed on as they came to the machine's own nameservers.
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import type { Clock } from '@isthmus/runtime';

export type ForwarderOptions = {
  /** Addresses, asked one after the other. */
  readonly nameservers: readonly string[];
  /** Of the nameservers. */
  readonly port?: number;
  readonly clock: Clock;
};

export interface Forwarder {
  /** The answer as it came; undefined where no nameserver gave one, or too many are waited for. Never rejects. */
  ask(query: Buffer, over: 'udp' | 'tcp'): Promise<Buffer | undefined>;
  close(): void;
}

/** All nameservers together stay below the five seconds after which callers ask again (resolv.conf(5)). */
const TRY_MS = 1_500;
const MAX_WAITING = 512;
const HEADER_BYTES = 12;

/** **Owns** a socket for each query under way. A port of its own for each makes answers hard to forge (RFC 5452 §9.2). */
export function openForwarder({ nameservers, port = 53, clock }: ForwarderOptions): Forwarder {
  const waiting = new Set<() => void>();
  let first = 0; // the one that answered last
  let isClosed = false;

  /** One try at one server. */
  function attempt(server: string, query: Buffer, over: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const timer = clock.setTimer(TRY_MS, () => done(undefined));
      const cancel = (): void => done(undefined);
      waiting.add(cancel);
      const done = (answer: Buffer | undefined): void => {
        timer.cancel();
        waiting.delete(cancel);
        end();
        resolve(answer);
      };
      const end = (over === 'udp' ? askByUdp : askByTcp)(server, port, query, done);
    });
  }

  return {
    async ask(query, over) {
      if (waiting.size >= MAX_WAITING) return undefined;
      for (let i = 0; i < nameservers.length && !isClosed; i++) {
        const at = (first + i) % nameservers.length;
        const answer = await attempt(nameservers[at] ?? '', query, over);
        if (answer === undefined) continue;
        first = at;
        return answer;
      }
      return undefined;
    },
    close: () => {
      isClosed = true;
      for (const cancel of [...waiting]) cancel();
    },
  };
}

/** Whether bytes are a response to that query: its id, and the bit that says so (RFC 1035 §4.1.1). */
const isAnswerTo = (query: Buffer, bytes: Buffer): boolean => bytes.length >= HEADER_BYTES && bytes.readUInt16BE(0) === query.readUInt16BE(0) && (bytes.readUInt8(2) & 0x80) !== 0;

/** Asks, and answers how to end that. `done` may be called more than once. */
function askByUdp(server: string, port: number, query: Buffer, done: (answer: Buffer | undefined) => void): () => void {
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  let isOpen = true;
  socket.on('error', () => done(undefined)); // refused: the next server has its turn at once
  socket.on('message', (bytes) => {
    if (isAnswerTo(query, bytes)) done(bytes);
  });
  socket.connect(port, server, () => {
    if (isOpen) socket.send(query);
  });
  return () => {
    if (isOpen) socket.close();
    isOpen = false;
  };
}

/** The same on a connection of its own, with two bytes of length in front (RFC 7766 §8). */
function askByTcp(server: string, port: number, query: Buffer, done: (answer: Buffer | undefined) => void): () => void {
  const socket = connect({ host: server, port });
  let pending = Buffer.alloc(0);
  socket.on('error', () => done(undefined));
  socket.on('close', () => done(undefined));
  socket.on('connect', () => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    socket.write(Buffer.concat([length, query]));
  });
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    if (pending.length < 2 || pending.length < 2 + pending.readUInt16BE(0)) return;
    const answer = pending.subarray(2, 2 + pending.readUInt16BE(0));
    done(isAnswerTo(query, answer) ? answer : undefined);
  });
  return () => socket.destroy();
}
