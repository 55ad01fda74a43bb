// Fuzzes the chunked coding: the same octets come out however it was split, and nothing ambiguous is accepted.
import { HTTP_LIMITS } from '../http/exchange.ts';
import { ChunkedDecoder } from './chunked.ts';
import { HeadParser } from './head.ts';
import { REFUSED, SectionScanner } from './scan.ts';
import { SMUGGLING_CASES } from './smuggling.corpus.ts';

const LIMITS = { ...HTTP_LIMITS, headerBytes: 1_024, headerCount: 8, targetBytes: 64 };

type Outcome = { readonly state: 'done' | 'more' | string; readonly used: number; readonly data: string; readonly trailers: readonly string[] };

function decode(input: Buffer, sizes: (at: number) => number): Outcome {
  const scanner = new SectionScanner(LIMITS);
  const decoder = new ChunkedDecoder(scanner, new HeadParser(scanner, LIMITS.targetBytes));
  decoder.reset();
  let data = '';
  const taker = { data: (chunk: Buffer) => void (data += chunk.toString('latin1')) };
  let used = 0;
  while (used < input.length) {
    const piece = Buffer.from(input.subarray(used, used + Math.max(1, sizes(used)))); // a copy: what is kept must not lean on it
    const stopped = decoder.decode(piece, 0, piece.length, taker);
    piece.fill(0xff);
    if (stopped === REFUSED) return { state: decoder.refused.code, used: 0, data, trailers: [] };
    used += stopped;
    if (decoder.done) return { state: 'done', used, data, trailers: decoder.trailers ?? [] };
  }
  return { state: 'more', used, data, trailers: [] };
}

/** Decodes by the letter of RFC 9112 §7.1, without a thought of speed; undefined: not a whole chunked body, or an ambiguous one. */
function reference(text: string): { readonly data: string; readonly used: number } | undefined {
  let data = '';
  let at = 0;
  for (;;) {
    const line = /^([0-9A-Fa-f]+)(?:;[\t -~\x80-\xff]*)?\r\n/.exec(text.slice(at, at + 600));
    if (line === null) return undefined;
    const size = Number.parseInt(line[1] ?? '', 16);
    at += line[0].length;
    if (size === 0) break;
    if (text.length < at + size + 2 || text.slice(at + size, at + size + 2) !== '\r\n') return undefined;
    data += text.slice(at, at + size);
    at += size + 2;
  }
  for (;;) {
    const end = text.indexOf('\r\n', at);
    if (end < 0) return undefined;
    const line = text.slice(at, end);
    at = end + 2;
    if (line === '') return { data, used: at };
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*$/.test(line) || /^(?:content-length|transfer-encoding|host):/i.test(line)) return undefined;
  }
}

/** Chunked bodies. */
export const target = {
  name: 'http1-chunked',
  seeds: SMUGGLING_CASES.filter((one) => one.bytes.includes('chunked\r\n\r\n') && one.bytes.length < 4_096).map((one) => Buffer.from(one.bytes.slice(one.bytes.indexOf('\r\n\r\n') + 4), 'latin1')),
  run(input: Buffer): void {
    const whole = decode(input, () => input.length);
    const ways: readonly ((at: number) => number)[] = [() => 1, (at) => 1 + ((input[at] ?? 0) % 5), (at) => 1 + (((input[at] ?? 0) * 31 + at) % 37)];
    for (const way of ways) {
      const split = decode(input, way);
      if (JSON.stringify(split) !== JSON.stringify(whole)) throw new Error(`${JSON.stringify(whole)} whole, ${JSON.stringify(split)} split`);
    }
    if (whole.data.length > input.length) throw new Error('more came out than went in');
    if (whole.state !== 'done') return;
    const wanted = reference(input.toString('latin1'));
    if (wanted === undefined || wanted.data !== whole.data || wanted.used !== whole.used) throw new Error(`accepted ${JSON.stringify(whole)}, by the letter it is ${JSON.stringify(wanted)}`);
  },
};
