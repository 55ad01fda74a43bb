// Fuzz target: whatever a peer sends, cut anywhere, both ends of a connection do the same and never throw.
import { EventEmitter } from 'node:events';
import type { Clock } from '@isthmus/runtime';
import { type Abort, type ClientConnection, HTTP_LIMITS, type HeaderList, type RequestHead, type ResponseHead, type ResponseSink, type ServerConnection, type ServerExchange } from '../http/exchange.ts';
import type { ByteStream } from '../transport/transport.ts';
import { openHttp2 } from './client.ts';
import { FrameReader } from './frame.ts';
import { PREFACE, REFUSALS } from './protocol.ts';
import { serveHttp2 } from './server.ts';

const LIMITS = { ...HTTP_LIMITS, streams: 8, headerBytes: 2048, headerCount: 20, targetBytes: 200, bufferBytes: 65_536 };
/** Time stands still, and no timer ever fires. */
const CLOCK: Clock = { nowMs: () => 0, monotonicMs: () => 0, setTimer: () => ({ cancel: () => undefined }), sleep: () => Promise.resolve() };

/** A socket that keeps what is written. */
class Socket extends EventEmitter {
  readonly writableLength = 0;
  readonly written: Buffer[] = [];
  isDestroyed = false;

  write(chunk: Buffer): boolean {
    this.written.push(Buffer.from(chunk));
    return true;
  }

  cork(): void {
    // Nothing to hold back.
  }

  uncork(): void {
    // As above.
  }

  resume(): void {
    // It flows from the start.
  }

  end(): void {
    // The peer hears of it; we go on.
  }

  destroy(): void {
    this.isDestroyed = true;
  }
}

function check(isTrue: boolean, promise: string): void {
  if (!isTrue) throw new Error(`broken: ${promise}`);
}

/** What an end made of its input, as text; body bytes are joined, since cuts may fall anywhere. */
class Story implements ResponseSink {
  readonly lines: string[] = [];
  #body: Buffer[] = [];
  #isOver = false;

  add(line: string): void {
    if (this.#body.length > 0) this.lines.push(`body ${Buffer.concat(this.#body).toString('hex')}`);
    this.#body = [];
    this.lines.push(line);
  }

  data(chunk: Buffer): void {
    check(!this.#isOver, 'nothing comes after the end');
    this.#body.push(chunk);
  }

  end(trailers: HeaderList | undefined): void {
    this.#end(`end ${JSON.stringify(trailers)}`);
  }

  abort(why: Abort): void {
    this.#end(`abort ${why.reason} ${why.detail}`);
  }

  inform(head: ResponseHead): void {
    this.add(`inform ${JSON.stringify(head)}`);
  }

  response(head: ResponseHead, endsNow: boolean): void {
    this.add(`response ${JSON.stringify(head)}`);
    if (endsNow) this.#end('ends now');
  }

  switched(head: ResponseHead): void {
    this.add(`switched ${JSON.stringify(head)}`);
  }

  drain(): void {
    this.add('drain');
  }

  #end(line: string): void {
    check(!this.#isOver, 'a message ends once');
    this.#isOver = true;
    this.add(line);
  }
}

/** One end fed with chunks. Returns what it saw and what it wrote. */
function play(isServer: boolean, chunks: readonly Buffer[]): string {
  const socket = new Socket();
  const refusals: string[] = [];
  const stories: Story[] = [];
  const onRefused = (code: string, detail: string): void => {
    check((REFUSALS as readonly string[]).includes(code), 'refusals are of a closed set');
    refusals.push(`${code} ${detail}`);
  };
  const story = (): Story => {
    const one = new Story();
    stories.push(one);
    return one;
  };
  const duplex = socket as unknown as ByteStream;
  const serve = (): ServerConnection => serveHttp2(duplex, { limits: LIMITS, clock: CLOCK, peer: 0, scheme: 'http', handlers: { onRefused, onRequest: (head, exchange) => answer(head, exchange, story()) } });
  const connection = isServer ? serve() : ask(openHttp2(duplex, { limits: LIMITS, clock: CLOCK, onRefused }), story);
  for (const chunk of chunks) socket.emit('data', chunk);
  check(connection.active <= LIMITS.streams, 'no more streams than the limit');
  connection.destroy();
  check(connection.active === 0, 'a destroyed connection has no streams');
  return JSON.stringify([refusals, stories.map((s) => s.lines), written(Buffer.concat(socket.written), isServer ? 0 : PREFACE.length)]);
}

function answer(head: RequestHead, exchange: ServerExchange, story: Story): void {
  story.add(JSON.stringify(head));
  exchange.onAbort = (why) => story.add(`onAbort ${why.reason}`);
  // Some answer at once, some wait for the end of the request.
  if (head.target.length % 2 === 0) exchange.respond({ status: 200, headers: ['a', 'b'], bodyBytes: undefined }, false);
  exchange.receive({
    data: (chunk) => {
      story.data(chunk);
      exchange.write(chunk);
    },
    end: (trailers) => {
      story.end(trailers);
      exchange.respond({ status: 200, headers: [], bodyBytes: undefined }, false);
      exchange.end(trailers);
    },
    abort: (why) => story.abort(why),
  });
}

function ask(client: ClientConnection, story: () => Story): ClientConnection {
  const head = { target: '/', authority: 'a', scheme: 'http', headers: [], bodyBytes: undefined, expectsContinue: false } as const;
  client.request({ ...head, method: 'GET', bodyBytes: 0 }, true, story());
  client.request({ ...head, method: 'POST' }, false, story()).write(Buffer.from('body'));
  client.request({ ...head, method: 'HEAD', bodyBytes: 0 }, true, story());
  return client;
}

/** The frames we wrote, which are whole and of a size everybody takes; DATA as one text a stream, since its cuts follow the input's. */
function written(bytes: Buffer, start: number): unknown {
  const frames: string[] = [];
  const data: Record<number, string> = {};
  let current = 0;
  const reader = new FrameReader({
    frame: (type, flags, id, input, from, to) => void frames.push(`${type} ${flags} ${id} ${input.toString('hex', from, to)}`),
    dataStart: (id, flags) => {
      current = id;
      if ((flags & 1) !== 0) frames.push(`end of ${id}`);
    },
    dataPart: (input, from, to) => (data[current] = `${data[current] ?? ''}${input.toString('hex', from, to)}`),
    dataEnd: () => undefined,
    badFrame: (problem) => check(false, `our own frames are good (${problem})`),
  });
  reader.feed(bytes.subarray(start));
  check(reader.held === undefined, 'what we write ends with a whole frame');
  return [frames, data];
}

/** Cuts at places that the input itself chooses. */
function cut(input: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < input.length; ) {
    const end = Math.min(input.length, at + 1 + ((input[at] as number) % 13));
    chunks.push(input.subarray(at, end));
    at = end;
  }
  return chunks;
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const SETTINGS = hex('000000040000000000 000000040100000000');
const GET = '828684 4101 61';

/** See tools/fuzz. The first octet says which end: even a server, odd a client. */
export const target = {
  name: 'http2-frame',
  maxBytes: 8192,
  seeds: [
    Buffer.concat([Buffer.from([0]), SETTINGS, hex(`000006 01 05 00000001 ${GET}`), hex('000008 06 00 00000000 0000000000000000')]),
    Buffer.concat([Buffer.from([0]), SETTINGS, hex(`000006 01 04 00000001 838684 4101 61`), hex('000005 00 08 00000001 02 6162 0000'), hex('000005 01 05 00000001 0001610162')]),
    Buffer.concat([Buffer.from([0]), SETTINGS, hex(`000003 01 01 00000001 828684`), hex('000003 09 04 00000001 410161'), hex('000004 08 00 00000000 00000100'), hex('000004 03 00 00000001 00000008')]),
    Buffer.concat([Buffer.from([1]), SETTINGS, hex('000001 01 04 00000001 88'), hex('000002 00 01 00000001 6869'), hex('000001 01 05 00000003 89'), hex('000008 07 00 00000000 00000003 00000000')]),
  ],
  dictionary: [hex('000000040100000000'), hex('000004080000000001'), hex('00000403000000000100000008'), hex('0000060500000001'), Buffer.from([0x88]), Buffer.from([0x82, 0x86, 0x84])],
  run(input: Buffer): void {
    const isServer = ((input[0] ?? 0) & 1) === 0;
    const bytes = Buffer.concat([isServer ? PREFACE : Buffer.alloc(0), input.subarray(1)]);
    const whole = play(isServer, [bytes]);
    const parts = play(isServer, cut(bytes));
    check(whole === parts, `cuts change nothing: ${whole.slice(0, 2000)} is not ${parts.slice(0, 2000)}`);
  },
};
