// Fuzz target: every DNS query gets an answer that is well formed and within its limit, or none; never an exception.
import { decode, encode } from 'dns-packet';
import { answerQuery } from './answer.ts';

const query = (name: string, type: 'A' | 'AAAA' | 'SOA', withEdns = false): Buffer =>
  encode({
    type: 'query',
    id: 7,
    flags: 0x0100,
    questions: [{ name, type, class: 'IN' }],
    additionals: withEdns ? [{ type: 'OPT', name: '.', udpPayloadSize: 1_232, flags: 0, options: [] } as never] : [],
  });

export const target = {
  name: 'dns-query',
  seeds: [query('payments.shop.svc.clusterset.local', 'A'), query('payments.shop.svc.clusterset.local', 'AAAA', true), query('shop.svc.clusterset.local', 'SOA'), query('example.org', 'A', true)],
  dictionary: [Buffer.from([0xc0, 12]), Buffer.from([0xc0, 0]), Buffer.from([0, 41]), Buffer.from([0, 255, 0, 1]), 'clusterset', 'local'],
  maxBytes: 1_024,
  run(input: Buffer): void {
    for (const maxBytes of [0, 65_535]) {
      const { bytes } = answerQuery(input, (name) => (name === 'payments.shop.svc.clusterset.local' ? '127.0.0.9' : undefined), maxBytes);
      if (bytes === undefined) continue;
      if (maxBytes === 0 && bytes.length > 1_232 && bytes.length > input.length) throw new Error(`an answer of ${bytes.length} bytes by UDP`);
      const answer = decode(bytes);
      if (answer.type !== 'response' || bytes.readUInt16BE(0) !== input.readUInt16BE(0)) throw new Error('the answer is not to this query');
    }
  },
};
