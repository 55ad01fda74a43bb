// Fuzzes heads: the verdict does not depend on how they were split, and nothing ambiguous is accepted.
import { HTTP_LIMITS } from '../http/exchange.ts';
import { appended } from './chunked.ts';
import { HeadParser } from './head.ts';
import { latin1 } from './octets.ts';
import { MORE, REFUSED, SectionScanner } from './scan.ts';
import { RESPONSE_CASES } from './response.corpus.ts';
import { SMUGGLING_CASES } from './smuggling.corpus.ts';

const LIMITS = { ...HTTP_LIMITS, headerBytes: 4_096, headerCount: 32, targetBytes: 512 };

type Verdict = { readonly text: string; readonly framing: string } | string;

/** Reads one head, handed over in pieces of `sizes` in turn. */
function read(input: Buffer, kind: 'request' | 'response', sizes: (at: number) => number): Verdict {
  const scanner = new SectionScanner(LIMITS);
  const parser = new HeadParser(scanner, LIMITS.targetBytes);
  scanner.reset(true);
  let held: Buffer | undefined;
  let size = 0;
  for (let at = 0; at < input.length;) {
    const next = Math.min(input.length, at + Math.max(1, sizes(at)));
    held = appended(held, size, input, at, next);
    size += next - at;
    at = next;
    const end = scanner.scan(held, 0, size);
    if (scanner.fields.length > LIMITS.headerCount * 5) throw new Error('more fields are held than the limit');
    if (end === MORE) {
      if (size > LIMITS.headerBytes) throw new Error('more bytes are held than the limit');
      continue;
    }
    if (end === REFUSED) return scanner.refused.code;
    const text = latin1(held, 0, end);
    const parsed = kind === 'request' ? parser.request(text, 'http') : parser.response(text, 'GET');
    if (parsed === undefined) return parser.refused.code;
    return { text, framing: JSON.stringify(parsed) };
  }
  return 'more';
}

const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[\t ]*$/;

/** What is wrong with a head by the letter of RFC 9112, written without a thought of speed. */
function ambiguity(text: string, kind: 'request' | 'response'): string | undefined {
  const body = text.startsWith('\r\n') ? text.slice(2) : text;
  if (!body.endsWith('\r\n\r\n')) return 'no end';
  const [start = '', ...fields] = body.slice(0, -4).split('\r\n');
  if (/[\r\n]/.test(start + fields.join(''))) return 'a bare CR or LF';
  const startLine = kind === 'request' ? /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [!-~]+ HTTP\/1\.[01]$/ : /^HTTP\/1\.[01] [1-5][0-9]{2}(?: [\t -~\x80-\xff]*)?$/;
  if (!startLine.test(start)) return 'the start line';
  const old = kind === 'request' ? start.endsWith('0') : start.startsWith('HTTP/1.0');
  const values = new Map<string, string[]>();
  for (const field of fields) {
    const match = FIELD_LINE.exec(field);
    if (match === null) return `the field line ${JSON.stringify(field)}`;
    const name = (match[1] ?? '').toLowerCase();
    values.set(name, [...(values.get(name) ?? []), match[2] ?? '']);
  }
  const lengths = values.get('content-length') ?? [];
  const codings = values.get('transfer-encoding') ?? [];
  const hosts = values.get('host') ?? [];
  if (lengths.length > 1 || lengths.some((v) => !/^[0-9]{1,15}$/.test(v))) return 'Content-Length';
  if (codings.length > 1 || codings.some((v) => v.toLowerCase() !== 'chunked') || (codings.length > 0 && old)) return 'Transfer-Encoding';
  if (lengths.length > 0 && codings.length > 0) return 'both';
  if (kind === 'request' && (hosts.length > 1 || (hosts.length === 0 && !old) || hosts.some((v) => !/^(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?$/.test(v)))) return 'Host';
  return undefined;
}

function check(input: Buffer, kind: 'request' | 'response'): void {
  const whole = read(input, kind, () => input.length);
  const ways: readonly ((at: number) => number)[] = [() => 1, (at) => 1 + ((input[at] ?? 0) % 7), (at) => 1 + (((input[at] ?? 0) * 31 + at) % 61)];
  for (const way of ways) {
    const split = read(input, kind, way);
    if (JSON.stringify(split) !== JSON.stringify(whole)) throw new Error(`${kind}: ${JSON.stringify(whole)} whole, ${JSON.stringify(split)} split`);
  }
  if (typeof whole === 'string') return;
  const wrong = ambiguity(whole.text, kind);
  if (wrong !== undefined) throw new Error(`a ${kind} was accepted though ambiguous: ${wrong}: ${JSON.stringify(whole.text)}`);
}

/** Heads of requests and responses. */
export const target = {
  name: 'http1-head',
  seeds: [...SMUGGLING_CASES.map((one) => one.bytes), ...RESPONSE_CASES.map((one) => one.bytes)].filter((text) => text.length > 0 && text.length < 4_096).map((text) => Buffer.from(text, 'latin1')),
  run(input: Buffer): void {
    check(input, 'request');
    check(input, 'response');
  },
};
