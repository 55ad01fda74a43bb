// Fuzz target: a line is refused, or is the one text of one record; never an exception.
import { chainProblem, chainRecord, EMPTY_HEAD, lineOf, parseLine } from './record.ts';
import { verifyCheckpoint } from './checkpoint.ts';

const first = chainRecord(EMPTY_HEAD, 1_700_000_000_000, { kind: 'member-joined', facts: { cluster: 'east', gateways: ['a:1'], nested: { is: true } } });
const checkpoint = chainRecord(EMPTY_HEAD, 1_700_000_000_000, { kind: 'checkpoint', facts: { owner: 'acme.example', records: 0, head: EMPTY_HEAD.hash, signature: 'AAAA', chain: ['AAAA'] } });

export const target = {
  name: 'log-record',
  seeds: [Buffer.from(lineOf(first).trimEnd()), Buffer.from(lineOf(checkpoint).trimEnd())],
  dictionary: ['"facts":{', '"index":1', '\\u0041', '__proto__', '1e3', '-0', '[[[[[[[[[', '\ufeff'],
  maxBytes: 2_048,
  run(input: Buffer): void {
    const parsed = parseLine(input);
    if (!parsed.ok) return;
    verifyCheckpoint(parsed.value);
    const isChained = chainProblem(EMPTY_HEAD, parsed.value) === undefined;
    if (lineOf(parsed.value) !== `${input.toString()}\n`) throw new Error('a record has two texts');
    if (isChained && parsed.value.hash !== first.hash && parsed.value.hash !== checkpoint.hash && parsed.value.index !== 0) throw new Error('a record without a place was taken');
  },
};
