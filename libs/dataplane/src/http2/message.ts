// From the fields of one header block to a request, a response or trailers, by the rules of RFC 9113 §8, and back.
import type { HeaderList, RequestHead, ResponseHead } from '../http/exchange.ts';
import { type Field, KIND } from './hpack/field.ts';
import { boundOf, type HpackEncoder } from './hpack/encoder.ts';

/** Collects one block. One serves all connections: a block is decoded in one go, and taken before the next begins. */
export class MessageFields {
  /** Why the message is malformed; the first reason counts. */
  problem: string | undefined;
  headers: string[] = [];
  method = '';
  scheme = '';
  path = '';
  protocol = '';
  status = '';
  authority: string | undefined;
  host: string | undefined;
  contentLength: string | undefined;
  #cookie: string | undefined;
  #expectsContinue = false;
  #hasRegular = false;

  /** Forgets the last block. */
  reset(): void {
    this.problem = undefined;
    this.headers = [];
    this.method = '';
    this.scheme = '';
    this.path = '';
    this.protocol = '';
    this.status = '';
    this.authority = undefined;
    this.host = undefined;
    this.contentLength = undefined;
    this.#cookie = undefined;
    this.#expectsContinue = false;
    this.#hasRegular = false;
  }

  /** Takes the next field. */
  field(field: Field): void {
    const { kind } = field;
    if (!field.isValid) {
      this.problem ??= kind === KIND.invalid ? 'a field name is no lower-case token' : `the value of ${field.name} is not allowed`;
      return;
    }
    if (kind === KIND.regular || kind === KIND.contentType) {
      this.#hasRegular = true;
      this.headers.push(field.name, field.value);
    } else if (kind <= KIND.unknownPseudo) this.#pseudo(field);
    else {
      this.#hasRegular = true;
      this.#special(field);
    }
  }

  #pseudo({ kind, name, value }: Field): void {
    let isRepeated = false;
    if (this.#hasRegular) this.problem ??= 'a pseudo-header comes after a regular field';
    else if (kind === KIND.method) {
      isRepeated = this.method !== '';
      this.method = value;
    } else if (kind === KIND.path) {
      isRepeated = this.path !== '';
      this.path = value;
    } else if (kind === KIND.scheme) {
      isRepeated = this.scheme !== '';
      this.scheme = value;
    } else if (kind === KIND.authority) {
      isRepeated = this.authority !== undefined;
      this.authority = value;
    } else if (kind === KIND.status) {
      isRepeated = this.status !== '';
      this.status = value;
    } else if (kind === KIND.protocol) {
      isRepeated = this.protocol !== '';
      this.protocol = value;
    } else this.problem ??= 'a pseudo-header is not known';
    if (isRepeated) this.problem ??= `${name} comes twice`;
  }

  #special({ kind, name, value }: Field): void {
    if (kind === KIND.cookie) {
      // Crumbs become one field again: what comes next may speak HTTP/1.1. RFC 9113 §8.2.3.
      this.#cookie = this.#cookie === undefined ? value : `${this.#cookie}; ${value}`;
    } else if (kind === KIND.contentLength) {
      if (this.contentLength !== undefined) this.problem ??= 'content-length comes twice';
      this.contentLength = value;
    } else if (kind === KIND.host) {
      if (this.host !== undefined) this.problem ??= 'host comes twice';
      this.host = value;
    } else if (kind === KIND.expect) {
      if (value.toLowerCase() === '100-continue') this.#expectsContinue = true;
      else this.headers.push(name, value);
    } else if (kind === KIND.connection) this.problem ??= `${name} belongs to HTTP/1.1`;
    // What is left is `te: trailers`, which says nothing about this request.
  }

  /** The block as a request; undefined with `problem` set where it is malformed. `isEnd`: no body follows. RFC 9113 §8.3.1. */
  request(scheme: 'http' | 'https', isEnd: boolean): RequestHead | undefined {
    if (this.problem !== undefined) return undefined;
    const isConnect = this.method === 'CONNECT';
    const hasProtocol = this.protocol !== '';
    if (this.status !== '') return this.#refuse('a request has no :status');
    if (this.method === '') return this.#refuse('a request needs :method');
    if (isConnect && !hasProtocol) {
      if (this.scheme !== '' || this.path !== '' || !this.authority) return this.#refuse('CONNECT has :authority alone');
    } else {
      if (this.scheme === '' || this.path === '') return this.#refuse('a request needs :scheme and :path');
      if (this.path.charCodeAt(0) !== 0x2f && !(this.path === '*' && this.method === 'OPTIONS')) return this.#refuse(':path begins with a slash');
      if (hasProtocol && !isConnect) return this.#refuse(':protocol goes with CONNECT');
    }
    const authority = this.authority ?? this.host;
    if (authority === undefined || authority === '') return this.#refuse('a request needs :authority or host');
    if (this.host !== undefined && this.host.toLowerCase() !== authority.toLowerCase()) return this.#refuse('host is not :authority');
    const bodyBytes = isEnd ? 0 : this.contentLength === undefined ? undefined : Number(this.contentLength);
    if (isEnd && this.contentLength !== undefined && Number(this.contentLength) !== 0) return this.#refuse('content-length without a body');
    const head = { method: this.method, target: this.path, authority, scheme, headers: this.#regular(), bodyBytes, expectsContinue: this.#expectsContinue && !isEnd };
    if (!isConnect) return head;
    return hasProtocol ? { ...head, method: 'GET', upgrade: this.protocol } : { ...head, target: authority };
  }

  /** The block as a response's head, final or not. RFC 9113 §8.3.2. */
  response(isEnd: boolean, isToHead: boolean): ResponseHead | undefined {
    if (this.problem !== undefined) return undefined;
    if (this.status === '') return this.#refuse('a response needs :status');
    if (this.method !== '' || this.path !== '' || this.scheme !== '' || this.authority !== undefined || this.protocol !== '') return this.#refuse('a response has no pseudo-header but :status');
    const status = Number(this.status);
    if (status === 101) return this.#refuse('101 belongs to HTTP/1.1');
    if (status < 200 && isEnd) return this.#refuse('an informational response ends nothing');
    const length = this.contentLength === undefined ? undefined : Number(this.contentLength);
    const isBodiless = isToHead || status === 304 || status === 204;
    if (isEnd && !isBodiless && length !== undefined && length !== 0) return this.#refuse('content-length without a body');
    return { status, headers: this.#regular(), bodyBytes: length ?? (isEnd ? 0 : undefined) };
  }

  /** The block as trailers. RFC 9113 §8.1: no pseudo-headers. */
  trailers(): HeaderList | undefined {
    if (this.problem !== undefined) return undefined;
    if (this.method !== '' || this.path !== '' || this.scheme !== '' || this.authority !== undefined || this.status !== '' || this.protocol !== '') return this.#refuse('trailers have no pseudo-header');
    return this.#regular();
  }

  #regular(): HeaderList {
    if (this.#cookie !== undefined) this.headers.push('cookie', this.#cookie);
    return this.headers;
  }

  #refuse(problem: string): undefined {
    this.problem = problem;
    return undefined;
  }
}

/** Bytes that a list of fields may take when encoded, pseudo-headers of `extraBytes` included. */
export function encodedBound(headers: HeaderList, extraBytes: number): number {
  // What stands beside them: pseudo-headers, content-length, te, expect, and the changes of table size.
  let bound = 320 + extraBytes;
  for (let i = 0; i + 1 < headers.length; i += 2) bound += boundOf(headers[i] as string, headers[i + 1] as string);
  return bound;
}

/** Writes a request's fields. Its own `content-length`, `te` and `expect` come from what the head says. */
export function encodeRequest(encoder: HpackEncoder, head: RequestHead, endsNow: boolean, output: Buffer, position: number): number {
  const isTunnel = head.upgrade !== undefined;
  position = encoder.field(':method', isTunnel ? 'CONNECT' : head.method, output, position);
  if (head.method !== 'CONNECT' || isTunnel) {
    position = encoder.field(':scheme', head.scheme, output, position);
    position = encoder.field(':path', head.target, output, position);
  }
  position = encoder.field(':authority', head.authority, output, position);
  if (isTunnel) position = encoder.field(':protocol', head.upgrade, output, position);
  const { headers } = head;
  let isGrpc = false;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name === 'content-type' && (headers[i + 1] as string).startsWith('application/grpc')) isGrpc = true;
    position = encoder.field(name, headers[i + 1] as string, output, position);
  }
  // Asked for by gRPC of every client; true of this one, which passes trailers on.
  if (isGrpc) position = encoder.field('te', 'trailers', output, position);
  if (head.expectsContinue && !endsNow) position = encoder.field('expect', '100-continue', output, position);
  if (!endsNow && head.bodyBytes !== undefined) position = encoder.field('content-length', String(head.bodyBytes), output, position);
  return position;
}

const STATUS_TEXT = Array.from({ length: 1000 }, (_, status) => String(status));

/** Writes a response's fields. With `endsNow` a length is told only where the body is another's (HEAD, 304). */
export function encodeResponse(encoder: HpackEncoder, head: ResponseHead, endsNow: boolean, output: Buffer, position: number): number {
  position = encoder.field(':status', STATUS_TEXT[head.status] ?? String(head.status), output, position);
  position = encodeFields(encoder, head.headers, output, position);
  const { bodyBytes } = head;
  if (bodyBytes !== undefined && head.status >= 200 && (!endsNow || bodyBytes > 0)) position = encoder.field('content-length', String(bodyBytes), output, position);
  return position;
}

/** Writes trailers, or any plain fields. */
export function encodeFields(encoder: HpackEncoder, headers: HeaderList, output: Buffer, position: number): number {
  for (let i = 0; i + 1 < headers.length; i += 2) position = encoder.field(headers[i] as string, headers[i + 1] as string, output, position);
  return position;
}
