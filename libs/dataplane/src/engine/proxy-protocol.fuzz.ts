// Feeds arbitrary bytes to the PROXY v2 reader, whole and cut.
import { ipBytes } from './ip-address.ts';
import { MAX_PROXY_HEADER_BYTES, readProxyHeader, writeProxyHeader } from './proxy-protocol.ts';

type FuzzTarget = { readonly name: string; readonly seeds: readonly Buffer[]; run(input: Buffer): void };

const at = (address: string, port: number) => ({ ip: ipBytes(address) ?? Buffer.alloc(4), port });
const v4 = writeProxyHeader(at('192.0.2.7', 51_000), at('198.51.100.1', 15_443));
const v6 = writeProxyHeader(at('2001:db8::7', 51_000), at('2001:db8::1', 15_443));
const local = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
const withTlv = Buffer.concat([v4.subarray(0, 14), Buffer.from([0, 17]), v4.subarray(16), Buffer.from([5, 0, 2, 1, 2])]);

/** A header is inside the input and bounded, its addresses come back when written, and no prefix of it says anything else. */
export const target: FuzzTarget = {
  name: 'proxy-protocol',
  seeds: [v4, v6, local, withTlv],
  run: (input) => {
    const result = readProxyHeader(input);
    if (result.kind === 'refused') return;
    if (result.kind === 'need-more') {
      if (result.atLeastBytes <= input.length || result.atLeastBytes > MAX_PROXY_HEADER_BYTES) throw new Error(`need-more asks for ${result.atLeastBytes} with ${input.length} there`);
      return;
    }
    if (result.sizeBytes > input.length || result.sizeBytes > MAX_PROXY_HEADER_BYTES) throw new Error(`a header of ${result.sizeBytes} bytes`);
    for (let cut = 0; cut < result.sizeBytes; cut++) {
      if (readProxyHeader(input.subarray(0, cut)).kind !== 'need-more') throw new Error(`the first ${cut} bytes are not need-more`);
    }
    const { addresses } = result;
    if (addresses === undefined) return;
    const again = readProxyHeader(writeProxyHeader(addresses.source, addresses.destination));
    if (again.kind !== 'header' || again.addresses?.source.port !== addresses.source.port || again.addresses.destination.port !== addresses.destination.port) throw new Error('the addresses do not come back');
  },
};
