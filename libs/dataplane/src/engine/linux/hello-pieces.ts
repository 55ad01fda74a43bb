// First bytes that do not come as one whole hello, or have a PROXY header before it: put together piece by piece. Pure.
import { ClientHelloReader, type HelloResult } from '../../tls/client-hello.ts';
import type { RelayRefusal } from '../engine.ts';
import type { IpPort } from '../ip-address.ts';
import { readProxyHeader } from '../proxy-protocol.ts';

export type HelloPiecesResult = HelloResult | { readonly kind: 'refused'; readonly reason: 'proxy-protocol' };

const NEED_MORE: HelloPiecesResult = { kind: 'need-more' };
const BAD_HEADER: HelloPiecesResult = { kind: 'refused', reason: 'proxy-protocol' };

/** **Bounds** what its two parsers allow. */
export class HelloPieces {
  /** What has come of the header; undefined where none is expected, or no more of it. */
  #header: Buffer | undefined;
  #reader: ClientHelloReader | undefined;
  /** What the PROXY header said. */
  addresses: { readonly source: IpPort; readonly destination: IpPort } | undefined;

  constructor(isProxied: boolean) {
    if (isProxied) this.#header = Buffer.alloc(0);
  }

  /** The hello as it came, without the header. */
  get bytes(): Buffer | undefined {
    return this.#reader?.bytes;
  }

  /** What it is called when nothing more comes. */
  get earlyEnd(): RelayRefusal {
    if (this.#header !== undefined && this.#header.length > 0) return 'proxy-protocol';
    return this.#reader === undefined ? 'no-hello' : 'malformed';
  }

  /** Takes what came next; `chunk` may be used again afterwards. */
  push(chunk: Buffer): HelloPiecesResult {
    if (this.#header === undefined) return (this.#reader ??= new ClientHelloReader()).push(chunk);
    const bytes = Buffer.concat([this.#header, chunk]);
    const result = readProxyHeader(bytes);
    if (result.kind === 'refused') return BAD_HEADER;
    if (result.kind === 'need-more') {
      this.#header = bytes;
      return NEED_MORE;
    }
    this.#header = undefined;
    this.addresses = result.addresses;
    return bytes.length === result.sizeBytes ? NEED_MORE : this.push(bytes.subarray(result.sizeBytes));
  }
}
