// Opens connections through a relay and ends them in random states; every byte that comes through is compared.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { helloBytes } from './hello-bytes.ts';
import { NAME, UNEXPORTED } from './rig.ts';

/** How one connection goes; drawn from the seed and its number, so that both of its ends know it. */
export type Plan = {
  readonly kind: 'whole' | 'cut-hello' | 'refused' | 'killed-by-client' | 'killed-by-server';
  readonly clientSendsBytes: number;
  readonly serverSendsBytes: number;
  /** Bytes sent (of the hello for `cut-hello`) before the kill. */
  readonly killAtBytes: number;
  /** By reset, or by closing. */
  readonly isReset: boolean;
};

export type TortureFacts = Record<Plan['kind'], number> & { bytes: number };

/** A small generator of numbers in [0, 1) with a seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const HELLO = helloBytes({ names: [NAME] });
const REFUSED_HELLO = helloBytes({ names: [UNEXPORTED] });
/** Where a hello has its 32 random bytes: after the headers of record and handshake, and the version. */
const RANDOM_AT = 11;
const PIECE_BYTES = 16_384;
const PATTERN_BYTES = 65_521;
const STUCK_MS = 30_000;

const PATTERN = Buffer.alloc(PATTERN_BYTES + PIECE_BYTES * 8);
const nextByte = seeded(1);
for (let i = 0; i < PATTERN_BYTES; i++) PATTERN[i] = Math.floor(nextByte() * 256);
PATTERN.copy(PATTERN, PATTERN_BYTES, 0, PIECE_BYTES * 8);

function planOf(seed: number, id: number): Plan {
  const random = seeded(seed ^ Math.imul(id + 1, 0x9e3779b1));
  const draw = random();
  const kind = draw < 0.4 ? 'whole' : draw < 0.55 ? 'cut-hello' : draw < 0.65 ? 'refused' : draw < 0.83 ? 'killed-by-client' : 'killed-by-server';
  const size = (): number => (random() < 0.02 ? Math.floor(random() * 2_000_000) : Math.floor(random() ** 3 * 60_000));
  const [clientSendsBytes, serverSendsBytes] = [size(), size()];
  const sends = kind === 'cut-hello' ? HELLO.length : kind === 'killed-by-client' ? clientSendsBytes : serverSendsBytes;
  return { kind, clientSendsBytes, serverSendsBytes, killAtBytes: Math.floor(random() * sends), isReset: random() < 0.6 };
}

/** One direction of one connection: what is sent and what has come in are both the pattern from the connection's offset on. */
class Stream {
  readonly #offset: number;
  #at = 0;
  constructor(id: number, isFromClient: boolean) {
    this.#offset = (id * 7_919 + (isFromClient ? 1 : 2)) % PATTERN_BYTES;
  }
  get at(): number {
    return this.#at;
  }
  next(count: number): Buffer {
    const from = (this.#offset + this.#at) % PATTERN_BYTES;
    const piece = PATTERN.subarray(from, from + Math.min(count, PIECE_BYTES));
    this.#at += piece.length;
    return piece;
  }
  /** Compares the next bytes with what they must be. */
  isNext(bytes: Buffer): boolean {
    for (let done = 0; done < bytes.length; ) {
      const expected = this.next(bytes.length - done);
      if (expected.compare(bytes, done, done + expected.length) !== 0) return false;
      done += expected.length;
    }
    return true;
  }
}

function kill(socket: Socket, isReset: boolean): void {
  if (isReset) socket.resetAndDestroy();
  else socket.destroy();
}

/** Sends so much, as fast as it is taken; false when the socket was gone before. */
async function sendAll(socket: Socket, stream: Stream, sizeBytes: number): Promise<boolean> {
  while (stream.at < sizeBytes) {
    if (socket.destroyed || !socket.writable) return false;
    if (!socket.write(stream.next(sizeBytes - stream.at)) && !socket.destroyed) await new Promise<void>((resolve) => {
      const done = (): void => {
        socket.off('drain', done).off('close', done);
        resolve();
      };
      socket.on('drain', done).on('close', done);
    });
  }
  return !socket.destroyed;
}

/** An end as it looks from one side. */
type Side = { readonly receivedBytes: number; readonly hasEnded: boolean };

/** Plays one side: sends its part or kills on the way, compares what comes, and resolves when its socket is closed. */
async function play(socket: Socket, plan: Plan, side: 'client' | 'server', streams: { readonly out: Stream; readonly in: Stream }, complain: (what: string) => void): Promise<Side> {
  let hasEnded = false;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const isKiller = plan.kind === `killed-by-${side}`;
  socket.on('data', (chunk: Buffer) => {
    if (!streams.in.isNext(chunk)) complain(`${side} received other bytes than were sent, at ${streams.in.at}`);
  });
  socket.once('end', () => {
    hasEnded = true;
    // Whoever was left by a killer has nothing more to wait for.
    if (plan.kind !== 'whole') socket.destroy();
  });
  const sends = side === 'client' ? plan.clientSendsBytes : plan.serverSendsBytes;
  if (await sendAll(socket, streams.out, isKiller ? plan.killAtBytes : sends)) {
    if (isKiller) kill(socket, plan.isReset);
    else if (plan.kind === 'whole') socket.end();
  }
  await closed;
  return { receivedBytes: streams.in.at, hasEnded };
}

/** Clients and endpoints of a torture. Anything wrong is in `complaints`. */
export class Torture {
  readonly complaints: string[] = [];
  readonly facts: TortureFacts = { whole: 0, 'cut-hello': 0, refused: 0, 'killed-by-client': 0, 'killed-by-server': 0, bytes: 0 };
  readonly #seed: number;
  /** Never used twice: one killed early may reach its endpoint long after its client was done. */
  #nextId = 0;
  readonly #server: Server;
  readonly #waiting = new Map<number, (side: Side) => void>();
  readonly #arrived = new Map<number, Promise<Side>>();

  constructor(seed: number) {
    this.#seed = seed;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  async listen(): Promise<number> {
    this.#server.listen({ port: 0, host: '0.0.0.0', backlog: 1_024 });
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Opens so many connections to a relay, so many at a time. */
  async run(relayPort: number, connections: number, atOnce: number): Promise<void> {
    const end = this.#nextId + connections;
    const lane = async (): Promise<void> => {
      while (this.#nextId < end && this.complaints.length < 20) await this.#one(relayPort, this.#nextId++);
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
  }

  async #one(port: number, id: number): Promise<void> {
    const plan = planOf(this.#seed, id);
    const complain = (what: string): void => void this.complaints.push(`connection ${id} (${plan.kind}): ${what}`);
    // Many local addresses, so that ports waiting for their last segments are not the limit.
    const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.1.${1 + (id % 250)}`, allowHalfOpen: true, noDelay: true });
    socket.on('error', () => undefined);
    const stuck = setTimeout(() => {
      complain('is stuck');
      socket.destroy();
      this.#waiting.get(id)?.({ receivedBytes: 0, hasEnded: false });
    }, STUCK_MS);
    await this.#play(socket, id, plan, complain);
    clearTimeout(stuck);
    this.#waiting.delete(id);
    this.#arrived.delete(id);
    this.facts[plan.kind] += 1;
  }

  async #play(socket: Socket, id: number, plan: Plan, complain: (what: string) => void): Promise<void> {
    const closed = once(socket, 'close').catch(() => undefined);
    if (plan.kind === 'cut-hello') {
      socket.write(HELLO.subarray(0, plan.killAtBytes), () => kill(socket, plan.isReset));
      await closed;
      return;
    }
    if (plan.kind === 'refused') {
      let received = '';
      socket.on('data', (chunk: Buffer) => (received += chunk.toString('hex'))).once('end', () => socket.destroy());
      socket.write(REFUSED_HELLO);
      await closed;
      if (received !== '15030300020270') complain(`got ${received} instead of the alert`);
      return;
    }
    const hello = Buffer.from(HELLO);
    hello.writeUInt32BE(id, RANDOM_AT);
    const other = new Promise<Side>((resolve) => this.#waiting.set(id, resolve));
    socket.write(hello);
    const client = await play(socket, plan, 'client', { out: new Stream(id, true), in: new Stream(id, false) }, complain);
    // A connection killed early may never have been led anywhere.
    const hasArrived = this.#arrived.has(id);
    const server = plan.kind === 'killed-by-client' && !hasArrived ? undefined : await other;
    this.#judge(plan, client, server, complain);
  }

  #judge(plan: Plan, client: Side, server: Side | undefined, complain: (what: string) => void): void {
    this.facts.bytes += client.receivedBytes + (server?.receivedBytes ?? 0);
    if (plan.kind === 'whole') {
      if (client.receivedBytes !== plan.serverSendsBytes || !client.hasEnded) complain(`client got ${client.receivedBytes} of ${plan.serverSendsBytes}`);
      if (server?.receivedBytes !== plan.clientSendsBytes || !server.hasEnded) complain(`server got ${server?.receivedBytes} of ${plan.clientSendsBytes}`);
    } else if (plan.isReset) {
      // A stream that was cut off must never look complete (reliability 55).
      if (plan.kind === 'killed-by-client' && server?.hasEnded === true) complain('the server saw a clean end of what was reset');
      if (plan.kind === 'killed-by-server' && client.hasEnded) complain('the client saw a clean end of what was reset');
    }
  }

  #accept(socket: Socket): void {
    socket.on('error', () => undefined);
    let head = Buffer.alloc(0);
    // The relay had connected when its caller was gone already: there is no hello to come.
    const onEarlyEnd = (): void => void socket.destroy();
    socket.once('end', onEarlyEnd);
    const onHead = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      if (head.length < HELLO.length) return;
      socket.off('data', onHead).off('end', onEarlyEnd);
      const id = head.readUInt32BE(RANDOM_AT);
      const plan = planOf(this.#seed, id);
      const streams = { out: new Stream(id, false), in: new Stream(id, true) };
      const complain = (what: string): void => void this.complaints.push(`connection ${id} (${plan.kind}): ${what}`);
      const rest = head.subarray(HELLO.length);
      if (rest.length > 0 && !streams.in.isNext(rest)) complain('the bytes after the hello are others');
      const played = play(socket, plan, 'server', streams, complain);
      this.#arrived.set(id, played);
      void played.then((side) => this.#waiting.get(id)?.(side));
    };
    socket.on('data', onHead);
  }
}
